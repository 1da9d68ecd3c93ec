import type { Quantization } from "../model/manifest.js";
import { rotationBlock } from "../model/rotation.js";
import { decoderInputs, decoderOutputs, finalNormGain } from "../model/tensor-names.js";
import { type AttentionInputs, attention, attentionInputs } from "./attention-graph.js";
import type { Calibration } from "./calibration/calibration.js";
import { DecoderWeights, type NormGain } from "./decoder-weights.js";
import { type BuiltGraph, GraphBuilder, microsoft, type Value } from "./graph-builder.js";
import { type LinearLayers, linearLayers, linearWithBias, rotate } from "./linear-layers.js";
import type { LlamaConfig } from "./llama-config.js";
import { layInParts } from "./weight-layout.js";
import { rotated, tensors } from "./weight-source.js";

/**
 * The decoder graph of both passes: contract and letters in model/tensor-names.ts; M = R·T new tokens, G = H/KV.
 *
 * The residual stream is kept as [M,D] and only attention sees rows and tokens apart. The past comes in as plain inputs
 * and only the new keys and values go out: the binding copies every output, and a graph that returned whole caches
 * would copy them at every step. The past comes in blocks, as many a row as it needs: each block is attended to by
 * its row's queries, and the partial sums are added up row by row (see attention-graph.ts). So rows of very different
 * length share a forward and none pays for the longest.
 *
 * @param quantization of every linear layer (see linear-layers.ts). Quantized either way, the embedding table and the
 *   output head are int8.
 * @param calibration what a text told of the layers' inputs; null where weights and rows are rounded to the nearest.
 */
export function decoderGraph(
  config: LlamaConfig,
  quantization: Quantization,
  calibration: Calibration | null,
): BuiltGraph {
  const { layers, hiddenSize, kvHeads, headDim, vocabSize } = config;
  const kvSize = kvHeads * headDim;
  const b = new GraphBuilder("decoder");

  const ids = b.input(decoderInputs.inputIds, "int64", ["R", "T"]);
  const topDownValues = b.input(decoderInputs.topDownValues, "float32", [layers, "R", "T", kvSize]);
  const residualAdditions = b.input(decoderInputs.residualAdditions, "float32", [layers, "A", hiddenSize]);
  const logitRows = b.input(decoderInputs.logitRows, "int64", ["N"]);

  const [rows, tokens] = b.nodeOf("Split", [b.node("Shape", [ids])], ["row_count", "token_count"], {
    attributes: { num_outputs: { int: 2 } },
  });
  const shared = attentionInputs(b, config, rows, tokens);
  const byLayer = (name: string, values: Value): readonly Value[] =>
    b.nodeOf(
      "Split",
      [values],
      Array.from({ length: layers }, (_, layer) => `${name}.${layer}`),
      { attributes: { axis: { int: 0 }, num_outputs: { int: layers } } },
    );
  const layerValues = byLayer("top_down_values", b.node("Reshape", [topDownValues, b.int64([layers, -1, kvSize])]));
  // [L·A,D]: each layer's share is [A,D], and broadcast to all rows where A is 1.
  const layerAdditions = byLayer(
    "residual_additions",
    b.node("Reshape", [residualAdditions, b.int64([-1, hiddenSize])]),
  );
  const linears = linearLayers(b, quantization, b.node("Mul", [rows, tokens]));
  const weights = new DecoderWeights(config, quantization, calibration);
  const { basis } = weights;

  const flatIds = b.node("Reshape", [ids, b.int64([-1])]);
  let stream: Stream = { sum: embed(b, config, quantization, basis, flatIds), branch: null };
  for (const [layer, topDown] of layerValues.entries()) {
    const addition = layerAdditions[layer];
    if (addition === undefined) throw new Error(`layer ${layer} has no share of the additions`);
    stream = b.scope(`layers.${layer}`, () =>
      decoderLayer(b, config, weights, linears, shared, layer, stream, topDown, addition),
    );
  }
  if (stream.branch === null) throw new Error("a decoder has at least one layer");
  const hidden = b.node("Add", [stream.sum, stream.branch], { output: decoderOutputs.layerOutput(layers - 1) });
  const trained = rotate(b, hidden, hiddenSize, basis);
  const hiddenStates = b.node("Reshape", [trained, shared.rowShape], { output: decoderOutputs.hiddenStates });

  const wanted = b.node("Gather", [trained, logitRows]);
  const finalNorm = { name: finalNormGain, rows: tensors(finalNormGain) };
  const normed = norm(b, config, wanted, finalNorm);
  const headLinears = linearLayers(b, headQuantization(quantization), b.node("Shape", [logitRows]));
  const headTensor = config.tiedEmbeddings ? embeddingTensor : "lm_head.weight";
  const head = { name: headTensor, outSize: vocabSize, inSize: hiddenSize, source: tensors(headTensor) };
  const logits = headLinears.apply(headLinears.prepareRotated(normed, hiddenSize), head, decoderOutputs.logits);

  b.output(logits, "float32", ["N", vocabSize]);
  b.output(hiddenStates, "float32", ["R", "T", hiddenSize]);
  for (let layer = 0; layer < layers; layer++) {
    b.output({ name: decoderOutputs.layerOutput(layer) }, "float32", ["M", hiddenSize]);
  }
  for (let layer = 0; layer < layers; layer++) {
    const dims = ["R", kvHeads, "T", headDim];
    b.output({ name: decoderOutputs.newKey(layer) }, "float32", dims);
    b.output({ name: decoderOutputs.newValue(layer) }, "float32", dims);
  }
  return b.build((placed) => layInParts("decoder.onnx", placed));
}

const embeddingTensor = "model.embed_tokens.weight";

/**
 * The head stays int8 beside int4 layers, tied or not. Tied, it shares the embedding table. Untied, 4 bits there would
 * cost nearly as much perplexity as in all other layers together (5.5M parameters, V 4096, the table copied into a head
 * of its own, 12,000 tokens: fp32 91.27, int8 head 91.78, int4 head 92.20), and save a quarter of the head's time for
 * one row, hardly any for two (K 768, N 32000, one thread, medians of 30 to 48 interleaved runs: 0.74, 0.92 and 1.27 of
 * int8's for 1, 2 and 4 rows).
 */
function headQuantization(quantization: Quantization): Quantization {
  return quantization === "int4" ? "int8" : quantization;
}

/**
 * flatIds: int64 [M] → float32 [M,D]
 * @param basis channels that are turned together in what comes out.
 */
function embed(b: GraphBuilder, config: LlamaConfig, quantization: Quantization, basis: number, flatIds: Value): Value {
  const dims = [config.vocabSize, config.hiddenSize];
  const rows = tensors(embeddingTensor);
  if (quantization === "none") {
    const table = b.weight(embeddingTensor, "float32", dims, { kind: "float32", rows });
    return b.node("Gather", [table, flatIds], { label: "embedding" });
  }
  // Named as the output head names them: tied, both read one table, whose rows are turned as the head wants them. The
  // embedding then reads it by a name of its own, since onnxruntime may have to rewrite the head's as unsigned bytes
  // (see OnnxSession).
  const block = config.tiedEmbeddings ? rotationBlock(config.hiddenSize) : basis;
  const stored = b.weight(embeddingTensor, "int8", dims, { kind: "int8", rows: rotated(rows, block) });
  const table = config.tiedEmbeddings ? b.alias(`${embeddingTensor}.table`, stored) : stored;
  const scales = b.weight(`${embeddingTensor}.scales`, "float32", [config.vocabSize], {
    kind: "scales",
    of: embeddingTensor,
  });
  const whole = b.node("Cast", [b.node("Gather", [table, flatIds])], { attributes: { to: { int: 1 } } });
  const scale = b.node("Unsqueeze", [b.node("Gather", [scales, flatIds]), b.int64([1])]);
  const embedding = b.node("Mul", [whole, scale], { label: "embedding" });
  return block === basis ? embedding : rotate(b, embedding, config.hiddenSize, block);
}

/** The residual stream, float32 [M,D], with what the last branch computed still to be added. */
interface Stream {
  readonly sum: Value;
  readonly branch: Value | null;
}

/**
 * topDown: float32 [1,M,kv]; addition: float32 [A,D]
 *
 * The addition joins the branch that is still open: so the sum that the next norm makes anyway is the layer's output,
 * and x + 0 is x.
 */
function decoderLayer(
  b: GraphBuilder,
  config: LlamaConfig,
  weights: DecoderWeights,
  linears: LinearLayers,
  shared: AttentionInputs,
  layer: number,
  stream: Stream,
  topDown: Value,
  addition: Value,
): Stream {
  const layerBefore = layer === 0 ? undefined : decoderOutputs.layerOutput(layer - 1);
  const before = addAndNorm(b, config, stream, weights.norm(layer, "attention"), layerBefore);
  const attended = b.scope("attention", () =>
    attention(b, config, weights, linears, shared, layer, before.normed, topDown),
  );
  const between = addAndNorm(b, config, { sum: before.sum, branch: attended }, weights.norm(layer, "mlp"));
  const fed = b.scope("mlp", () => feedForward(b, config, weights, linears, layer, between.normed));
  return { sum: between.sum, branch: b.node("Add", [fed, addition], { label: "with_addition" }) };
}

/**
 * RMSNorm.
 * @see https://arxiv.org/abs/1910.07467
 */
function norm(b: GraphBuilder, config: LlamaConfig, rows: Value, gain: NormGain): Value {
  const attributes = { axis: { int: -1 }, epsilon: { float: config.rmsNormEps }, stash_type: { int: 1 } };
  return b.node("SimplifiedLayerNormalization", [rows, gainOf(b, config, gain)], { attributes });
}

function gainOf(b: GraphBuilder, config: LlamaConfig, { name, rows }: NormGain): Value {
  return b.weight(name, "float32", [config.hiddenSize], { kind: "float32", rows });
}

/**
 * Adds the open branch to the residual stream and takes the RMSNorm of the sum, in one node.
 * @param sumName the sum's exact name, where it is a graph output.
 */
function addAndNorm(
  b: GraphBuilder,
  config: LlamaConfig,
  { sum, branch }: Stream,
  gain: NormGain,
  sumName?: string,
): { normed: Value; sum: Value } {
  if (branch === null) return { normed: norm(b, config, sum, gain), sum };
  const [normed, , , added] = b.nodeOf(
    "SkipSimplifiedLayerNormalization",
    [sum, branch, gainOf(b, config, gain)],
    ["normed", null, null, sumName === undefined ? "sum" : { output: sumName }],
    { domain: microsoft, attributes: { epsilon: { float: config.rmsNormEps } } },
  );
  return { normed, sum: added };
}

/** SwiGLU: down(silu(gate(x)) · up(x)); normed: float32 [M,D] → [M,D]. */
function feedForward(
  b: GraphBuilder,
  config: LlamaConfig,
  weights: DecoderWeights,
  linears: LinearLayers,
  layer: number,
  normed: Value,
): Value {
  const both = linearWithBias(b, linears, linears.prepare(normed), weights.product(layer, "gate_up"));
  const [gate, up] = b.nodeOf("Split", [both], ["gate", "up"], {
    attributes: { axis: { int: 1 }, num_outputs: { int: 2 } },
  });
  // x·sigmoid(alpha·x): with alpha 1 it is silu, in one pass.
  const silu = b.node("QuickGelu", [gate], { domain: microsoft, attributes: { alpha: { float: 1 } }, label: "silu" });
  const inner = linears.prepareRotated(b.node("Mul", [silu, up]), config.intermediateSize);
  return linearWithBias(b, linears, inner, weights.product(layer, "down"));
}
