import { createParser } from "eventsource-parser";
import { brokenOff, ProblemError, problemOf, unreachable } from "./problem.js";

/** How to reach this page's own server. */
export interface Access {
  readonly apiKey: string;
}

export interface CallOptions {
  readonly method?: "GET" | "POST" | "PATCH" | "DELETE";
  readonly body?: object | string;
  readonly signal?: AbortSignal;
}

/**
 * Sends one request to the page's own server.
 * @throws ProblemError for everything that is no success; an abort is thrown as it is.
 */
export async function call(access: Access, path: string, options: CallOptions = {}): Promise<Response> {
  const { method = "GET", body, signal } = options;
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        ...(body === undefined
          ? {}
          : { "content-type": typeof body === "string" ? "application/x-ndjson" : "application/json" }),
        ...(access.apiKey === "" ? {} : { authorization: `Bearer ${access.apiKey}` }),
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new ProblemError({ ...unreachable, sentence: unreachableSentence(error) });
  }
  if (!response.ok) {
    throw new ProblemError(problemOf(response.status, await response.json().catch(() => null)));
  }
  return response;
}

function unreachableSentence(error: unknown): string {
  // A key with a line break, say, cannot be put into a header; fetch then throws before it sends.
  return error instanceof TypeError && /header|ByteString|ISO-8859-1/i.test(error.message)
    ? "The API key holds a character that cannot be sent. Enter it again."
    : unreachable.sentence;
}

/** @throws ProblemError as {@link call} does. */
export async function callJson(access: Access, path: string, options: CallOptions = {}): Promise<unknown> {
  const response = await call(access, path, options);
  return await response.json();
}

/**
 * Yields the JSON of each `data:` line until `[DONE]`.
 * @throws ProblemError as {@link call} does, and when the stream ends without `[DONE]`.
 */
export async function* callStream(
  access: Access,
  path: string,
  body: object,
  signal: AbortSignal,
): AsyncGenerator<unknown, void, undefined> {
  const response = await call(access, path, { method: "POST", body, signal });
  const waiting: unknown[] = [];
  let done = false;
  const parser = createParser({
    onEvent({ data }) {
      if (data === "[DONE]") {
        done = true;
      } else if (!done) {
        waiting.push(JSON.parse(data));
      }
    },
  });
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const next = await readOrBreak(reader, signal);
      if (next === null) break;
      parser.feed(decoder.decode(next, { stream: true }));
      yield* waiting.splice(0);
      if (done) return;
    }
  } finally {
    // Leaving early must tell the server, or it goes on writing for nobody.
    await reader?.cancel().catch(() => {});
  }
  throw new ProblemError(brokenOff);
}

async function readOrBreak(
  reader: ReadableStreamDefaultReader<Uint8Array> | undefined,
  signal: AbortSignal,
): Promise<Uint8Array | null> {
  try {
    const next = await reader?.read();
    return next === undefined || next.done ? null : next.value;
  } catch {
    signal.throwIfAborted();
    throw new ProblemError(brokenOff);
  }
}
