import type { ExplainedToken } from "../wire/answer.js";

/** Tokens that only together make whole characters: mostly one, more where a character spans them. */
export interface TokenRun {
  readonly text: string;
  readonly tokens: readonly ExplainedToken[];
}

/** Tokens as they are shown: those of the answer, and of the prompt. */
export interface ShownRuns {
  readonly runs: readonly TokenRun[];
  readonly promptRuns: readonly TokenRun[];
}

/**
 * Groups tokens so that each group's bytes are whole UTF-8 characters. Tokens without bytes (an end of sequence) join
 * none and are groups of empty text.
 */
export function tokenRuns(tokens: readonly ExplainedToken[]): readonly TokenRun[] {
  const runs: TokenRun[] = [];
  let open: ExplainedToken[] = [];
  const close = () => {
    if (open.length > 0) runs.push({ text: decode(open.flatMap(({ bytes }) => bytes)), tokens: open });
    open = [];
  };
  for (const token of tokens) {
    if (token.bytes.length === 0) {
      close();
      runs.push({ text: token.text, tokens: [token] });
      continue;
    }
    open.push(token);
    if (isWhole(open.flatMap(({ bytes }) => bytes))) close();
  }
  close();
  return runs;
}

function decode(bytes: readonly number[]): string {
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

/**
 * Whether the bytes end with a whole character. What is not UTF-8 at all counts as whole, or nothing would ever show.
 */
function isWhole(bytes: readonly number[]): boolean {
  let at = bytes.length - 1;
  let continuations = 0;
  while (at >= 0 && ((bytes[at] ?? 0) & 0xc0) === 0x80 && continuations < 3) {
    continuations++;
    at--;
  }
  const lead = bytes[at] ?? 0;
  if (lead < 0xc0) return true;
  const needed = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  return continuations >= needed;
}
