/**
 * Frames of a `text/event-stream` as OpenAI's clients read it: `data:` lines and comments only, no `id:`; `event:` in
 * the Responses API alone.
 */

/** @returns one event. JSON escapes line breaks, so a value is always one `data:` line. */
export function dataFrame(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/** @returns one event with a name, as the Responses API has them. */
export function eventFrame(value: { readonly type: string }): string {
  return `event: ${value.type}\n${dataFrame(value)}`;
}

/** The last frame of every stream, after an error too: clients wait for it. */
export const doneFrame = "data: [DONE]\n\n";

/** A comment: parsers skip it, proxies and idle timers see traffic. An empty `data:` would break JSON parsers. */
export const keepAliveFrame = ": keep-alive\n\n";
