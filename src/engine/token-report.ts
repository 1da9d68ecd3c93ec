import type { ScoredToken } from "../sampling/log-probabilities.js";
import type { TokenReport } from "./messages.js";

/** A report without the bytes, which depend on where in the text the token stands. */
export interface TokenFacts extends Pick<TokenReport, "logprob" | "steering" | "draft"> {
  readonly top: readonly ScoredToken[];
}

/** @param bytesOf what a token adds to the text at this place */
export function tokenReport(id: number, facts: TokenFacts, bytesOf: (id: number) => Uint8Array): TokenReport {
  const top = facts.top.map(({ id: other, logprob }) => ({ id: other, bytes: bytesOf(other), logprob }));
  return { id, bytes: bytesOf(id), ...facts, top };
}
