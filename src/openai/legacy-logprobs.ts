import { z } from "zod";
import type { TokenReport } from "../engine/token-report.js";
import { responseSchemas } from "./named-schemas.js";
import { tokenText, type WrittenToken, wireLogprob } from "./token-reports.js";

export const legacyLogprobsSchema = z
  .object({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number().nullable()),
    top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
    text_offset: z.array(z.int()),
  })
  .describe(
    "One entry for each token; null for the first of a prompt. Offsets count characters (Unicode code points) from the beginning of the choice's text.",
  )
  .register(responseSchemas, { id: "CompletionLogprobs" });

/**
 * Log probabilities in the shape of completions. Remembers where in its choice's text it is, over all chunks of a
 * stream.
 */
export class LegacyLogprobs {
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  #characters = 0;

  of(reports: readonly TokenReport[]): z.output<typeof legacyLogprobsSchema> {
    return {
      // What they add: joined, the tokens are the text.
      tokens: reports.map(({ bytes }) => legacyText({ bytes })),
      token_logprobs: reports.map(({ logprob }) => (logprob === null ? null : wireLogprob(logprob))),
      top_logprobs: reports.map(topOf),
      text_offset: reports.map(({ bytes }) => this.#offsetOf(bytes)),
    };
  }

  /** A token that goes on with a character begins behind those that are complete. */
  #offsetOf(bytes: Uint8Array): number {
    const [first] = bytes;
    // Where a character breaks off, its U+FFFD stands in front of what follows.
    if (first !== undefined && !isContinuation(first)) this.#characters += lengthOf(this.#utf8.decode());
    const offset = this.#characters;
    this.#characters += lengthOf(this.#utf8.decode(bytes, { stream: true }));
    return offset;
  }
}

/** In Unicode code points. */
function lengthOf(text: string): number {
  return [...text].length;
}

/** Whether a byte goes on with a character of UTF-8. */
function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

/** The likeliest tokens, and the one that was taken, which need not be one of them. */
function topOf(report: TokenReport): Record<string, number> | null {
  if (report.logprob === null) return null;
  const entries = [...report.top.map((one) => [legacyText(one), wireLogprob(one.logprob)] as const)];
  return Object.fromEntries([...entries, [legacyText(report), wireLogprob(report.logprob)]]);
}

/** OpenAI's completions mark bytes of no whole character. */
function legacyText(token: WrittenToken): string {
  const text = tokenText(token);
  return text.startsWith("\\x") && token.bytes[0] !== 0x5c ? `bytes:${text}` : text;
}
