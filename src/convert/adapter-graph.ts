import type { AdapterManifest, FeatureScale, Quantization } from "../model/manifest.js";
import { adapterInputs, adapterOutputs } from "../model/tensor-names.js";
import { type BuiltGraph, GraphBuilder, type Value } from "./graph-builder.js";
import { linearLayers } from "./linear-layers.js";
import { layInOneFile } from "./weight-layout.js";

export interface AdapterShape {
  /** L */
  readonly layers: number;
  /** D */
  readonly hiddenSize: number;
  /** kv */
  readonly kvSize: number;
}

/** What decides on the graph, apart from its arithmetic. */
export interface AdapterGraphPlan {
  readonly shape: AdapterShape;
  readonly features: FeatureScale;
}

/** What the graph is made of; asked for layer by layer, from the last to the first. */
export interface AdapterWeights {
  /** ξ, float32 [D] */
  readonly taskEmbedding: () => Promise<Float32Array>;
  /** F_l, float32 [kv,D] */
  readonly folded: (layer: number) => Promise<Float32Array>;
}

/**
 * An adapter is as its backbone. Beside int4 it is int8: folded matrices are few ([kv,D] a layer), so 4 bits would save
 * little.
 */
export function adapterQuantization(backbone: Quantization): Exclude<Quantization, "int4"> {
  return backbone === "int4" ? "int8" : backbone;
}

/** As PyTorch's cosine_similarity: lengths under this count as this. */
const smallestNorm = 1e-8;

/**
 * Feature selection and the folded feedback path: Δv_l = gain_l · F_l (z · relevance), relevance = clamp(cos(z, ξ), 0,
 * 1). With features of unit RMS z counts as √D·z/|z| (0 where z is). Contract in model/tensor-names.ts.
 * @param quantization `int8`: the folded matrices are W8A8 per token; ξ stays float32, it is one row and decides on
 *   all.
 */
export function adapterGraph(
  { shape, features }: AdapterGraphPlan,
  weights: AdapterWeights,
  quantization: Exclude<Quantization, "int4">,
  weightsFile: string,
): BuiltGraph {
  const { layers, hiddenSize, kvSize } = shape;
  const b = new GraphBuilder("adapter");
  const hidden = b.input(adapterInputs.hiddenStates, "float32", ["N", hiddenSize]);
  const gains = b.input(adapterInputs.gains, "float32", ["N", layers]);
  const last = b.int64([1]);
  const floor = b.float32([smallestNorm], []);

  const direction = b.weight("task_direction", "float32", [hiddenSize], {
    kind: "float32",
    rows: { kind: "computed", compute: async () => normalize(await weights.taskEmbedding()) },
  });
  // A sum over each row rather than a product with a column: its result does not depend on the number of rows.
  const dot = b.node("ReduceSum", [b.node("Mul", [hidden, direction]), last]);
  const norm = b.node("Max", [b.node("ReduceL2", [hidden, last]), floor]);
  const relevance = b.node("Clip", [b.node("Div", [dot, norm]), b.float32([0], []), b.float32([1], [])]);
  b.output(b.node("Squeeze", [relevance, last], { output: adapterOutputs.relevance }), "float32", ["N"]);

  const tokens = b.node("Shape", [gains], { attributes: { start: { int: 0 }, end: { int: 1 } }, label: "token_count" });
  const linears = linearLayers(b, quantization, tokens);
  const weight =
    features === "raw"
      ? relevance
      : b.node("Div", [relevance, b.node("Mul", [norm, b.float32([hiddenSize ** -0.5], [])])]);
  const selected = linears.prepareRotated(b.node("Mul", [hidden, weight], { label: "selected_features" }), hiddenSize);
  const perLayer = new Array<Value>(layers);
  // Placed from the last layer to the first, the order in which the feedback path is folded.
  for (let layer = layers - 1; layer >= 0; layer--) {
    perLayer[layer] = linears.apply(selected, {
      name: `layers.${layer}.folded`,
      outSize: kvSize,
      inSize: hiddenSize,
      source: { kind: "computed", compute: () => weights.folded(layer) },
    });
  }
  const stacked = b.node("Concat", perLayer, { attributes: { axis: { int: 0 } } });
  const values = b.node("Reshape", [stacked, b.int64([layers, -1, kvSize])]);
  const byLayer = b.node("Transpose", [gains], { attributes: { perm: { ints: [1, 0] } } });
  const scaled = b.node("Mul", [values, b.node("Unsqueeze", [byLayer, b.int64([2])])], {
    output: adapterOutputs.topDownValues,
  });
  b.output(scaled, "float32", [layers, "N", kvSize]);
  return b.build((weights) => layInOneFile(weightsFile, weights));
}

/**
 * Whether `graph` is, byte for byte, what the converter writes for an adapter of this description: it computes what an
 * adapter computes and reads no file but its own weights.
 */
export function isAdapterGraphOf(
  { shape, features, quantization, files }: Pick<AdapterManifest, "shape" | "features" | "quantization" | "files">,
  graph: Uint8Array,
): boolean {
  const unread = () => Promise.reject(new Error("a graph is made without its weights"));
  const { graph: own } = adapterGraph(
    { shape, features },
    { taskEmbedding: unread, folded: unread },
    adapterQuantization(quantization),
    files.weights.name,
  );
  return Buffer.compare(own, graph) === 0;
}

/** ξ / max(|ξ|, smallestNorm), float32 [D]. */
function normalize(taskEmbedding: Float32Array): Float32Array {
  const squares = taskEmbedding.reduce((sum, value) => sum + value * value, 0);
  const norm = Math.max(Math.sqrt(squares), smallestNorm);
  return taskEmbedding.map((value) => value / norm);
}
