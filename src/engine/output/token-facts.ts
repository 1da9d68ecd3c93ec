import type { ScoredToken } from "../../sampling/log-probabilities.js";
import type { IncrementalDetokenizer } from "../../text/incremental-detokenizer.js";
import type { TokenReport } from "../token-report.js";

/** A report without the bytes, which depend on where in the text the token stands. */
export interface TokenFacts extends Pick<TokenReport, "logprob" | "rank" | "steering" | "vectors" | "draft"> {
  readonly top: readonly ScoredToken[];
}

/** @param text what a token adds to the text at this place, and how a special one is written */
export function tokenReport(
  id: number,
  facts: TokenFacts,
  text: Pick<IncrementalDetokenizer, "bytesOf" | "specialOf">,
): TokenReport {
  const written = (of: number) => {
    const special = text.specialOf(of);
    return { id: of, bytes: text.bytesOf(of), ...(special === null ? {} : { special }) };
  };
  const top = facts.top.map(({ id: other, logprob }) => ({ ...written(other), logprob }));
  return { ...written(id), ...facts, top };
}
