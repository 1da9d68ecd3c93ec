import type { Adapter } from "../model/adapter.js";
import type { Decoder, DecoderRow } from "../model/decoder.js";
import type { Lane } from "../model/kv-cache.js";
import { logProbabilities } from "../sampling/log-probabilities.js";

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
  const bottomUp = cache.allocate("bottomUp");
  const steered = cache.allocate("steered");
  try {
    for (let from = 0; from < scores.length; from += chunkTokens) {
      // The last token is predicted, never fed.
      const ids = tokenIds.slice(from, Math.min(from + chunkTokens, scores.length));
      const row: DecoderRow =
        pass.kind === "plain"
          ? { pass: "bottomUp", lane: bottomUp, tokenIds: ids, output: "allLogits" }
          : {
              pass: "steered",
              lane: steered,
              tokenIds: ids,
              output: "allLogits",
              topDown: { values: await topDownValues(decoder, bottomUp, ids, pass), total: ids.length, from: 0 },
            };
      const [result] = await decoder.step([row]);
      if (result?.output !== "allLogits") throw new Error("all logits were asked for");
      for (let t = 0; t < ids.length; t++) {
        const logits = result.logits.subarray(t * vocabSize, (t + 1) * vocabSize);
        scores[from + t] = logProbabilities(logits, tokenIds[from + t + 1] ?? 0, 0).logprob;
      }
    }
  } finally {
    cache.release(bottomUp);
    cache.release(steered);
  }
  return scores;
}

async function topDownValues(
  decoder: Decoder,
  lane: Lane,
  ids: readonly number[],
  { adapter, gains }: Extract<ScoringPass, { kind: "steered" }>,
): Promise<Float32Array> {
  const [result] = await decoder.step([{ pass: "bottomUp", lane, tokenIds: ids, output: "hiddenStates" }]);
  if (result?.output !== "hiddenStates") throw new Error("hidden states were asked for");
  const gainsOfAll = new Float32Array(ids.length * gains.length);
  for (let t = 0; t < ids.length; t++) gainsOfAll.set(gains, t * gains.length);
  return (await adapter.topDown(result.hiddenStates, gainsOfAll)).topDownValues;
}
