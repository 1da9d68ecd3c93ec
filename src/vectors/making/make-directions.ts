import { setImmediate } from "node:timers/promises";
import { at } from "../../at.js";
import { ToastError } from "../../errors.js";
import type { LayerRange } from "../../steering/steering.js";
import type { Directions, VectorMethod } from "../vector-file.js";
import { layerDirection, lengthOf } from "./directions.js";
import { equalSides, type MakingEngine, type SidePrompts } from "./vector-recipe.js";

export interface MadeDirections {
  /** Scaled so that strength 1 is a full dose: see `scaled`. */
  readonly directions: Directions;
  /** Of each of them, in their order: what strength 1 adds, over the mean length of the layer's outputs. */
  readonly layerNormShares: readonly number[];
  /** Of each: area under the ROC curve on held-out examples. */
  readonly layerSeparations: readonly number[];
}

/**
 * The layers that a vector steers where nobody says: from a quarter to seven tenths of the depth. Earlier ones are
 * about words,
 * later ones about the very next token.
 */
export function usualLayers(layers: number): LayerRange {
  const from = Math.min(layers - 1, Math.max(1, Math.round(layers * 0.26)));
  return [from, Math.max(from, Math.round(layers * 0.71))];
}

/**
 * @throws ToastError `invalid_vector` for layers that the model does not have, and for layer 0, which has none in the
 * files.
 */
export function checkLayers([from, to]: LayerRange, layers: number): void {
  if (from >= 1 && to < layers) return;
  const message = `'layers' must lie within 1 and ${layers - 1}: the model has ${layers} layers, and layer 0 has no direction in the format of control vectors.`;
  throw new ToastError("invalid_vector", message, { param: "layers" });
}

/**
 * @param model.hiddenSize D
 * @throws ToastError `invalid_vector` when the two sides look the same to the model; of the engine; the signal's
 *   reason.
 */
export async function makeDirections(
  engine: Pick<MakingEngine, "layerOutputs">,
  model: { readonly hiddenSize: number },
  prompts: SidePrompts,
  options: {
    readonly method: VectorMethod;
    readonly layers: LayerRange;
    readonly signal: AbortSignal;
    readonly onProgress: (done: number, total: number) => void;
  },
): Promise<MadeDirections> {
  const { signal, method } = options;
  const total = prompts.positive.length + prompts.negative.length;
  let done = 0;
  const read = async (side: SidePrompts["positive"]) => {
    const outputs: Float32Array[] = [];
    for (const { ids, lastTokens } of side) {
      const [output] = await engine.layerOutputs([ids], { signal, lastTokens });
      if (output === undefined) throw new Error("a prompt has layer outputs");
      outputs.push(output);
      options.onProgress(++done, total);
    }
    return outputs;
  };
  const positive = await read(prompts.positive);
  const negative = await read(prompts.negative);
  const [from, to] = options.layers;
  const found = new Map<number, { direction: Float32Array; outputNorm: number; separation: number }>();
  for (let layer = from; layer <= to; layer++) {
    const ofLayer = (outputs: readonly Float32Array[]) =>
      outputs.map((output) => output.subarray(layer * model.hiddenSize, (layer + 1) * model.hiddenSize));
    const made = layerDirection(
      { positive: ofLayer(positive), negative: ofLayer(negative), paired: prompts.paired },
      method,
    );
    if (made === null || !made.direction.every(Number.isFinite)) throw equalSides();
    found.set(layer, made);
    // A long list of wide layers takes seconds; others want the thread meanwhile.
    await setImmediate(undefined, { signal });
  }
  const scale = doseScale([...found.values()].map(({ direction }) => direction));
  const entries = [...found].map(([layer, made]) => ({
    layer,
    ...made,
    direction: made.direction.map((x) => x * scale),
  }));
  return {
    directions: new Map(entries.map(({ layer, direction }) => [layer, direction])),
    layerNormShares: entries.map(({ direction, outputNorm }) => lengthOf(direction) / outputNorm),
    layerSeparations: entries.map(({ separation }) => separation),
  };
}

/**
 * What each layer adds stays in the stream and adds up. So that strength 1 is a full dose, all additions together are
 * as long as the two
 * sides are apart behind the last of the layers: the stream moves as far as being the one instead of the other moves
 * it.
 */
function doseScale(directions: readonly Float32Array[]): number {
  const last = directions.at(-1);
  if (last === undefined) throw new Error("a vector has a layer at least");
  const sum = new Float32Array(last.length);
  for (const direction of directions) for (let i = 0; i < sum.length; i++) sum[i] = at(sum, i) + at(direction, i);
  const length = lengthOf(sum);
  return length === 0 ? 1 : lengthOf(last) / length;
}
