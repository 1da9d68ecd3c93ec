import type { Decoder, DecoderRow, RowTopDown } from "../model/decoder.js";
import type { Lane } from "../model/kv-cache.js";
import { logProbabilities } from "../sampling/log-probabilities.js";
import type { Adapter } from "../steering/adapter.js";
import { Feedback } from "../steering/feedback.js";

/** Which pass the probabilities come from. */
export type ScoringPass =
  | { readonly kind: "plain" }
  | {
      readonly kind: "steered";
      readonly adapter: Pick<Adapter, "topDown">;
      /** float32 [L] */
      readonly gains: Float32Array;
    };

/**
 * How likely the model finds a given text: log P(token t + 1 | tokens 0 … t) for each t, natural logarithm.
 * Computed in chunks like a prompt, on lanes of its own, which are released again.
 * @returns one number fewer than there are tokens.
 * @throws ToastError `engine_failed`
 */
export async function scoreTokens(
  decoder: Decoder,
  pass: ScoringPass,
  tokenIds: readonly number[],
  chunkTokens: number,
): Promise<Float64Array> {
  const { cache } = decoder;
  const { vocabSize } = decoder.architecture;
  const scores = new Float64Array(Math.max(0, tokenIds.length - 1));
  const feedback = new Feedback(decoder.architecture);
  const bottomUp = cache.allocate("bottomUp");
  const steered = cache.allocate("steered");
  try {
    for (let from = 0; from < scores.length; from += chunkTokens) {
      // The last token is predicted, never fed.
      const ids = tokenIds.slice(from, Math.min(from + chunkTokens, scores.length));
      const row: DecoderRow =
        pass.kind === "plain"
          ? { lane: bottomUp, tokenIds: ids, logits: "all" }
          : {
              lane: steered,
              tokenIds: ids,
              logits: "all",
              topDown: await topDown(decoder, feedback, bottomUp, ids, pass),
              addition: null,
            };
      const [result] = await decoder.step([row]);
      if (result === undefined) throw new Error("a step has one result for each row");
      for (const [t, next] of tokenIds.slice(from + 1, from + 1 + ids.length).entries()) {
        const logits = result.logits.subarray(t * vocabSize, (t + 1) * vocabSize);
        scores[from + t] = logProbabilities(logits, next, 0).logprob;
      }
    }
  } finally {
    cache.release(bottomUp);
    cache.release(steered);
  }
  return scores;
}

async function topDown(
  decoder: Decoder,
  feedback: Feedback,
  lane: Lane<"bottomUp">,
  ids: readonly number[],
  { adapter, gains }: Extract<ScoringPass, { kind: "steered" }>,
): Promise<RowTopDown> {
  const [result] = await decoder.step([{ lane, tokenIds: ids, logits: "none" }]);
  if (result === undefined) throw new Error("a step has one result for each row");
  const { hiddenStates } = result;
  return (await feedback.ofOne({ adapter, hiddenStates, gains, explain: false })).topDown;
}
