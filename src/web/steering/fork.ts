import { firstDifference } from "../parts/first-difference.js";
import { type Answer, isRunning } from "../wire/answer.js";
import type { TokenRun } from "./token-runs.js";

/** Where the base's answer and the steered one part. */
export interface Fork {
  /** Of both texts, in UTF-16; null: they do not differ, or not yet. */
  readonly at: number | null;
  /** Both are complete, and the same. */
  readonly isNone: boolean;
}

type SoFar = Pick<Answer, "text" | "phase">;

export function forkOf(left: SoFar | null, right: SoFar | null): Fork {
  if (left === null || right === null) return { at: null, isNone: false };
  const { kind, at } = firstDifference(left.text, right.text);
  const settled = !isRunning(left) && !isRunning(right);
  // While one has only not come as far as the other, there is no difference yet.
  const parts = kind === "differ" || (settled && kind === "prefix");
  return { at: parts ? at : null, isNone: settled && kind === "same" };
}

/**
 * @param isSteered whether an adapter above strength 0 or a control vector steered one side.
 * @returns the fork in a sentence; nothing while there is nothing to say.
 */
export function verdict({ at, isNone }: Fork, isSteered: boolean): string {
  if (at === 0) return "The two differ from the first character.";
  if (at !== null) return `The two agree for ${at} characters; the mark shows where they part.`;
  if (!isNone) return "";
  return isSteered
    ? "Same text on both sides: this strength is too small to change a token here."
    : "Strength 0 is the base model: the same text, bit for bit.";
}

/** @returns which run holds the character at `at` of the answer's text, and where in the text it begins. */
export function runAt(runs: readonly TokenRun[], text: string, at: number) {
  const joined = runs.map((run) => run.text).join("");
  // A leading space of the first token is no part of the text.
  let reached = text === "" || !joined.includes(text) ? 0 : -joined.indexOf(text);
  for (const [index, run] of runs.entries()) {
    if (reached + run.text.length > at) return { index, startsAt: Math.max(0, reached) };
    reached += run.text.length;
  }
  return null;
}
