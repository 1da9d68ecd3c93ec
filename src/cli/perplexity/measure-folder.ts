import type { LoadedModel } from "../../engine/load-model.js";
import { type ScoringPass, scoreTokens } from "../../engine/score-tokens.js";
import { defaultLimits } from "../../engine/thread/engine-client.js";
import { type Block, blocksOf, type Perplexity, type PerplexitySettings, PerplexitySum } from "./perplexity.js";

/** Scores the texts with the base and with each adapter at strength 1. */
export async function measureFolder(
  model: LoadedModel,
  texts: readonly string[],
  settings: PerplexitySettings,
  onProgress: (fraction: number) => void = () => {},
): Promise<readonly Perplexity[]> {
  const { manifest } = model.folder;
  const { bos } = manifest.tokens;
  const blocks = blocksOf(
    texts.map((text) => model.tokenizer.encode(text, { addSpecialTokens: false })),
    bos === null ? [] : [bos.id],
    { ...settings, block: Math.min(settings.block, manifest.architecture.contextLength) },
  );
  const passes: { readonly id: string; readonly pass: ScoringPass }[] = [
    { id: manifest.id, pass: { kind: "plain" } },
    ...[...model.adapters].map(([name, adapter]): { id: string; pass: ScoringPass } => ({
      id: `${manifest.id}:${name}`,
      pass: { kind: "steered", adapter, gains: new Float32Array(manifest.architecture.layers).fill(1) },
    })),
  ];
  const results: Perplexity[] = [];
  for (const [passIndex, { id, pass }] of passes.entries()) {
    const sum = new PerplexitySum();
    for (const [blockIndex, block] of blocks.entries()) {
      onProgress((passIndex + blockIndex / blocks.length) / passes.length);
      sum.add(await scoreTokens(model.decoder, pass, block.ids, defaultLimits.chunkTokens), bytesOf(block, model));
    }
    results.push(sum.of(id, manifest.quantization));
  }
  return results;
}

function bytesOf({ predicted, isBeginning }: Block, { tokenizer }: LoadedModel): number {
  // The space that encoding puts in front of a text is none of its bytes.
  const placeOf = (index: number) => (isBeginning && index === 0 ? "first" : "later");
  return predicted.reduce((sum, id, index) => sum + (tokenizer.tokenBytes(id, placeOf(index))?.length ?? 0), 0);
}
