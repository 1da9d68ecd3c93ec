import type { Quantization } from "../model/manifest.js";
import { rotationBlock } from "../model/rotation.js";
import { blockOrderParts, decoderInputs, decoderOutputs } from "../model/tensor-names.js";
import type { Calibration } from "./calibration/calibration.js";
import { DecoderWeights, type NormGain, type ProductWeights } from "./decoder-weights.js";
import { type BuiltGraph, GraphBuilder, microsoft, type Value } from "./graph-builder.js";
import { type LinearInput, type LinearLayers, linearLayers, rotate } from "./linear-layers.js";
import type { LlamaConfig } from "./llama-config.js";
import { rotaryTable } from "./rotary-table.js";
import { layInParts } from "./weight-layout.js";
import { rotated, tensors } from "./weight-source.js";

/** Values that every layer reads; computed once per forward. */
interface Shared {
  /** int64 [R,T] */
  readonly positions: Value;
  readonly cosines: Value;
  readonly sines: Value;
  /** float32 [G·T,T]: 0 on and under the diagonal, -Infinity above. */
  readonly causalMask: Value;
  /** float32 [P,1,1,S] */
  readonly pastMask: Value;
  readonly blocks: Blocks;
  /** int64 [4]: R, T, -1, Hd; turns [M,X·Hd] into [R,T,X,Hd]. */
  readonly headShape: Value;
}

/** Whose the blocks of the past are. */
interface Blocks {
  /** int64 [P] */
  readonly rows: Value;
  /** int64 [P,1]: the same, as ScatterND takes it. */
  readonly rowIndices: Value;
  /** The lists in which partial sums are added up: int64 [N] blocks, and int64 [N,1] their rows. */
  readonly parts: readonly { readonly order: Value; readonly rowIndices: Value }[];
}

/**
 * The decoder graph of both passes: contract and letters in model/tensor-names.ts; M = R·T new tokens, G = H/KV.
 *
 * The residual stream is kept as [M,D] and only attention sees rows and tokens apart. The past comes in as plain inputs
 * and only the new keys and values go out: the binding copies every output, and a graph that returned whole caches
 * would copy them at every step. Query heads that share a key/value head are folded into the token axis
 * ([R,KV,G·T,Hd]), so grouped queries repeat nothing. The past comes in blocks, as many a row as it needs: each block
 * is attended to by its row's queries, and the partial sums are added up row by row (see `attention`). So rows of very
 * different length share a forward and none pays for the longest.
 *
 * @param quantization of every linear layer (see linear-layers.ts). Quantized either way, the embedding table and the
 *   output head are int8.
 * @param calibration what a text told of the layers' inputs, for int8; null where weights and rows are quantized as
 *   they are.
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
  const positions = b.input(decoderInputs.positionIds, "int64", ["R", "T"]);
  const pastMask = b.input(decoderInputs.pastMask, "float32", ["P", 1, 1, "S"]);
  const blockRows = b.input(decoderInputs.blockRows, "int64", ["P"]);
  const blockOrders = Array.from({ length: blockOrderParts }, (_, part) =>
    b.input(decoderInputs.blockOrder(part), "int64", [`P${part}`]),
  );
  const topDownValues = b.input(decoderInputs.topDownValues, "float32", [layers, "R", "T", kvSize]);
  const residualAdditions = b.input(decoderInputs.residualAdditions, "float32", [layers, "A", hiddenSize]);
  const logitRows = b.input(decoderInputs.logitRows, "int64", ["N"]);

  const [rows, tokens] = b.nodeOf("Split", [b.node("Shape", [ids])], ["row_count", "token_count"], {
    attributes: { num_outputs: { int: 2 } },
  });
  const asColumn = (values: Value): Value => b.node("Unsqueeze", [values, b.int64([1])]);
  const rotary = (part: "cos" | "sin"): Value =>
    b.weight(`rotary.${part}`, "float32", [config.contextLength, headDim / 2], {
      kind: "float32",
      rows: { kind: "computed", compute: () => rotaryTable(config, part) },
    });
  const shared: Shared = {
    positions,
    cosines: rotary("cos"),
    sines: rotary("sin"),
    causalMask: causalMask(b, config, tokens),
    pastMask,
    blocks: {
      rows: blockRows,
      rowIndices: asColumn(blockRows),
      parts: blockOrders.map((order) => ({ order, rowIndices: asColumn(b.node("Gather", [blockRows, order])) })),
    },
    headShape: b.node("Concat", [rows, tokens, b.int64([-1, headDim])], {
      attributes: { axis: { int: 0 } },
      label: "head_shape",
    }),
  };
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
  const batchShape = b.node("Concat", [rows, tokens, b.int64([-1])], { attributes: { axis: { int: 0 } } });
  const trained = rotate(b, hidden, hiddenSize, basis);
  const hiddenStates = b.node("Reshape", [trained, batchShape], { output: decoderOutputs.hiddenStates });

  const wanted = b.node("Gather", [trained, logitRows]);
  const finalNorm = { name: "model.norm.weight", rows: tensors("model.norm.weight") };
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
  shared: Shared,
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

/** tokens: int64 [1], T → float32 [G·T,T] */
function causalMask(b: GraphBuilder, config: LlamaConfig, tokens: Value): Value {
  const count = b.node("Squeeze", [tokens, b.int64([0])]);
  const index = b.node("Range", [b.int64([0], []), count, b.int64([1], [])]);
  const key = b.node("Unsqueeze", [index, b.int64([0])]);
  const query = b.node("Unsqueeze", [index, b.int64([1])]);
  const later = b.node("Greater", [key, query]);
  const mask = b.node("Where", [later, b.float32([Number.NEGATIVE_INFINITY], []), b.float32([0], [])]);
  const groups = config.heads / config.kvHeads;
  return b.node("Tile", [mask, b.int64([groups, 1])], { label: "causal_mask" });
}

/**
 * Causal grouped-query attention over the cached and the new tokens.
 * @param normed float32 [M,D]
 * @param topDown float32 [1,M,kv], added to the values alone: steering changes what is said, not where to look.
 * @returns float32 [M,D]
 */
function attention(
  b: GraphBuilder,
  config: LlamaConfig,
  weights: DecoderWeights,
  linears: LinearLayers,
  shared: Shared,
  layer: number,
  normed: Value,
  topDown: Value,
): Value {
  const { heads, kvHeads, headDim } = config;
  const querySize = heads * headDim;
  const kvSize = kvHeads * headDim;
  const swapTokensAndHeads = { perm: { ints: [0, 2, 1, 3] } };
  const transposedB = { domain: microsoft, attributes: { transB: { int: 1 } } };

  // One product for q, k and v: the input is quantized and read once.
  const projected = linearWithBias(b, linears, linears.prepare(normed), weights.product(layer, "qkv"));
  const [qk, v] = b.nodeOf("Split", [projected, b.int64([querySize + kvSize, kvSize])], ["qk", "v"], {
    attributes: { axis: { int: 1 } },
  });

  // [M,(H+KV)·Hd] → [R,T,H+KV,Hd] → [R,H+KV,T,Hd]: queries and keys turn together.
  const perHead = b.node("Reshape", [qk, shared.headShape]);
  const byHead = b.node("Transpose", [perHead], { attributes: swapTokensAndHeads });
  const turned = b.node("RotaryEmbedding", [byHead, shared.positions, shared.cosines, shared.sines], {
    domain: microsoft,
  });
  const [q, newKey] = b.nodeOf(
    "Split",
    [turned, b.int64([heads, kvHeads])],
    ["q", { output: decoderOutputs.newKey(layer) }],
    { attributes: { axis: { int: 1 } } },
  );
  const folded = b.node("Reshape", [q, b.int64([0, kvHeads, -1, headDim])]);
  // Scaled before the products: those then run with alpha = 1, where the one-row kernels are.
  const query = b.node("Mul", [folded, b.float32([1 / Math.sqrt(headDim)], [])], { label: "query" });

  const steered = b.node("Add", [v, topDown], { label: "steered_values" });
  const newValue = b.node("Transpose", [b.node("Reshape", [steered, shared.headShape])], {
    attributes: swapTokensAndHeads,
    output: decoderOutputs.newValue(layer),
  });
  const cacheDims = ["P", kvHeads, "S", headDim];
  const pastKey = b.input(decoderInputs.pastKey(layer), "float32", cacheDims);
  const pastValue = b.input(decoderInputs.pastValue(layer), "float32", cacheDims);

  const { blocks } = shared;
  const overKeys = b.int64([3]);
  // Scores against a row's own new tokens, [R,KV,G·T,T], and against each block of past ones, [P,KV,G·T,S].
  const newScores = b.node("Add", [b.node("FusedMatMul", [query, newKey], transposedB), shared.causalMask]);
  const blockQuery = b.node("Gather", [query, blocks.rows]);
  const pastScores = b.node("Add", [b.node("FusedMatMul", [blockQuery, pastKey], transposedB), shared.pastMask]);
  // The softmax of a row in pieces: its largest score over all of them, then each piece's weights, sum of weights and
  // weighted values.
  const largest = b.node(
    "ScatterND",
    [b.node("ReduceMax", [newScores, overKeys]), blocks.rowIndices, b.node("ReduceMax", [pastScores, overKeys])],
    { attributes: { reduction: { string: "max" } }, label: "largest" },
  );
  const newWeights = b.node("Exp", [b.node("Sub", [newScores, largest])]);
  const pastWeights = b.node("Exp", [b.node("Sub", [pastScores, b.node("Gather", [largest, blocks.rows])])]);
  const pastSums = b.node("MatMul", [pastWeights, pastValue]);
  const pastTotals = b.node("ReduceSum", [pastWeights, overKeys]);
  let sums = b.node("MatMul", [newWeights, newValue]);
  let totals = b.node("ReduceSum", [newWeights, overKeys]);
  for (const { order, rowIndices } of blocks.parts) {
    const add = (to: Value, pieces: Value): Value =>
      b.node("ScatterND", [to, rowIndices, b.node("Gather", [pieces, order])], {
        attributes: { reduction: { string: "add" } },
      });
    sums = add(sums, pastSums);
    totals = add(totals, pastTotals);
  }
  const mixed = b.node("Div", [sums, totals]);

  // [R,KV,G·T,Hd] → [R,H,T,Hd] → [R,T,H,Hd] → [M,H·Hd]
  const unfolded = b.node("Reshape", [mixed, b.int64([0, heads, -1, headDim])]);
  const byToken = b.node("Transpose", [unfolded], { attributes: swapTokensAndHeads });
  const flat = b.node("Reshape", [byToken, b.int64([-1, querySize])]);
  return linearWithBias(b, linears, linears.prepare(flat), weights.product(layer, "o"));
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

function linearWithBias(
  b: GraphBuilder,
  linears: LinearLayers,
  input: LinearInput,
  { name, rows, bias, ...weight }: ProductWeights,
): Value {
  const product = linears.apply(input, { ...weight, name: `${name}.weight`, source: rows });
  if (bias === null) return product;
  return b.node("Add", [
    product,
    b.weight(`${name}.bias`, "float32", [weight.outSize], { kind: "float32", rows: bias }),
  ]);
}
