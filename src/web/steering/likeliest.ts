import type { LikelyToken, RankedToken } from "../wire/answer.js";
import type { TokenRun } from "./token-runs.js";

/** How many are asked for at each place. */
export const mostLikely = 5;

/** The likeliest tokens of the base and of the steered pass at one place of the answer. */
export interface Likeliest {
  /** Number of the token in its answer, from 0. */
  readonly at: number;
  /** Null where the base has not come that far, or reads another text by then. */
  readonly base: RankedToken | null;
  readonly steered: RankedToken | null;
  /** Where the place lies: only up to the fork do both continue the same text. */
  readonly place: "before" | "fork" | "behind";
}

/**
 * @returns the number of the first token that differs, which is the first that both chose otherwise in the same place;
 *   where one answer has ended and the other has not, its next; null while they agree.
 */
export function tokenFork(
  base: readonly RankedToken[],
  steered: readonly RankedToken[],
  areComplete: boolean,
): number | null {
  const shorter = Math.min(base.length, steered.length);
  for (let at = 0; at < shorter; at++) if (!isSame(base[at], steered[at])) return at;
  return areComplete && base.length !== steered.length ? shorter : null;
}

/** @param at null: the fork. @returns null where nothing is known. */
export function likeliestAt(
  at: number | null,
  fork: number | null,
  base: readonly RankedToken[],
  steered: readonly RankedToken[],
): Likeliest | null {
  const here = at ?? fork;
  if (here === null) return null;
  const place = fork === null || here < fork ? "before" : here === fork ? "fork" : "behind";
  const likeliest = {
    at: here,
    base: place === "behind" ? null : (base[here] ?? null),
    steered: steered[here] ?? null,
    place,
  } as const;
  return likeliest.base === null && likeliest.steered === null ? null : likeliest;
}

/** @returns which token of the answer a run begins with. */
export function tokenOfRun(runs: readonly TokenRun[], run: number): number {
  return runs.slice(0, run).reduce((sum, { tokens }) => sum + tokens.length, 0);
}

export function isSame(one: LikelyToken | undefined, other: LikelyToken | undefined): boolean {
  return one?.text === other?.text && one?.bytes.join() === other?.bytes.join();
}
