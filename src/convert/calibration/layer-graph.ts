import { GraphBuilder, microsoft, type Value } from "../graph-builder.js";
import type { LlamaConfig } from "../llama-config.js";

/** Inputs of a linear layer or several that share one. */
export const products = ["qkv", "o", "gate_up", "down"] as const;
export type Product = (typeof products)[number];

/**
 * The tensors of a layer that its graph takes, as they are called behind `model.layers.N.`, with the graph's inputs.
 */
export function layerTensors(config: LlamaConfig): readonly string[] {
  const weights = (part: "weight" | "bias") => ["q", "k", "v", "o"].map((name) => `self_attn.${name}_proj.${part}`);
  const mlp = (part: "weight" | "bias") => ["gate", "up", "down"].map((name) => `mlp.${name}_proj.${part}`);
  return [
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
    ...weights("weight"),
    ...mlp("weight"),
    ...(config.attentionBias ? weights("bias") : []),
    ...(config.mlpBias ? mlp("bias") : []),
  ];
}

/**
 * One decoder layer over a text of T tokens, in fp32, with its weights as inputs: the same graph serves every layer,
 * and a model of any size is run through with one layer in memory.
 *
 * Outputs: `hidden_out` float32 [T,D]; `attention_input` and `mlp_input` float32 [T,D], what q, k, v and gate, up read,
 * before the gain of their norm; and `gram.NAME` float32 [K,K], XᵀX of the inputs of each of `grams`, those two before
 * the gain as well.
 */
export function calibrationLayerGraph(config: LlamaConfig, grams: readonly Product[]): Uint8Array {
  const { heads, kvHeads, headDim, hiddenSize, intermediateSize } = config;
  const b = new GraphBuilder("calibration_layer");
  const hidden = b.input("hidden_in", "float32", ["T", hiddenSize]);
  const positions = b.input("positions", "int64", [1, "T"]);
  const cosines = b.input("cos", "float32", ["S", headDim / 2]);
  const sines = b.input("sin", "float32", ["S", headDim / 2]);
  const mask = b.input("mask", "float32", ["T", "T"]);
  const sizes: Readonly<Record<string, readonly [number, number]>> = {
    "self_attn.q_proj": [heads * headDim, hiddenSize],
    "self_attn.k_proj": [kvHeads * headDim, hiddenSize],
    "self_attn.v_proj": [kvHeads * headDim, hiddenSize],
    "self_attn.o_proj": [hiddenSize, heads * headDim],
    "mlp.gate_proj": [intermediateSize, hiddenSize],
    "mlp.up_proj": [intermediateSize, hiddenSize],
    "mlp.down_proj": [hiddenSize, intermediateSize],
  };
  const product = (a: Value, c: Value, attributes: object = {}): Value =>
    b.node("FusedMatMul", [a, c], { domain: microsoft, attributes: { ...attributes } });
  const linear = (rows: Value, name: string, hasBias: boolean): Value => {
    const [outSize, inSize] = sizes[name] as readonly [number, number];
    const result = product(rows, b.input(`${name}.weight`, "float32", [outSize, inSize]), { transB: { int: 1 } });
    return hasBias ? b.node("Add", [result, b.input(`${name}.bias`, "float32", [outSize])]) : result;
  };
  const even = b.float32(new Array<number>(hiddenSize).fill(1));
  const norm = (rows: Value, output: string): Value =>
    b.node("SimplifiedLayerNormalization", [rows, even], {
      attributes: { axis: { int: -1 }, epsilon: { float: config.rmsNormEps }, stash_type: { int: 1 } },
      output,
    });
  const gained = (rows: Value, name: string): Value =>
    b.node("Mul", [rows, b.input(`${name}.weight`, "float32", [hiddenSize])]);
  const inputsOf = (name: Product, rows: Value): void => {
    if (!grams.includes(name)) return;
    const gram = b.node("FusedMatMul", [rows, rows], {
      domain: microsoft,
      attributes: { transA: { int: 1 } },
      output: gramOutput(name),
    });
    b.output(gram, "float32", ["K", "K"]);
  };

  const attentionInput = norm(hidden, "attention_input");
  inputsOf("qkv", attentionInput);
  const attentionRows = gained(attentionInput, "input_layernorm");
  const byHead = (name: string, count: number): Value => {
    const rows = linear(attentionRows, `self_attn.${name}_proj`, config.attentionBias);
    return b.node("Transpose", [b.node("Reshape", [rows, b.int64([1, -1, count, headDim])])], {
      attributes: { perm: { ints: [0, 2, 1, 3] } },
    });
  };
  const turned = (rows: Value): Value =>
    b.node("RotaryEmbedding", [rows, positions, cosines, sines], { domain: microsoft });
  // Query heads that share a key/value head lie behind each other: [KV,G·T,Hd].
  const query = b.node("Reshape", [turned(byHead("q", heads)), b.int64([kvHeads, -1, headDim])]);
  const key = b.node("Reshape", [turned(byHead("k", kvHeads)), b.int64([kvHeads, -1, headDim])]);
  const value = b.node("Reshape", [byHead("v", kvHeads), b.int64([kvHeads, -1, headDim])]);
  const scores = product(query, key, { transB: { int: 1 }, alpha: { float: 1 / Math.sqrt(headDim) } });
  const tokens = b.node("Shape", [positions], { attributes: { start: { int: 1 }, end: { int: 2 } } });
  const apart = b.node("Concat", [b.int64([kvHeads, heads / kvHeads]), tokens, tokens], {
    attributes: { axis: { int: 0 } },
  });
  const together = b.node("Concat", [b.int64([kvHeads, -1]), tokens], { attributes: { axis: { int: 0 } } });
  const weights = b.node("Softmax", [b.node("Add", [b.node("Reshape", [scores, apart]), mask])], {
    attributes: { axis: { int: -1 } },
  });
  const mixed = b.node("MatMul", [b.node("Reshape", [weights, together]), value]);
  const byToken = b.node("Transpose", [b.node("Reshape", [mixed, b.int64([heads, -1, headDim])])], {
    attributes: { perm: { ints: [1, 0, 2] } },
  });
  const attended = b.node("Reshape", [byToken, b.int64([-1, heads * headDim])]);
  inputsOf("o", attended);
  const between = b.node("Add", [hidden, linear(attended, "self_attn.o_proj", config.attentionBias)]);

  const mlpInput = norm(between, "mlp_input");
  inputsOf("gate_up", mlpInput);
  const mlpRows = gained(mlpInput, "post_attention_layernorm");
  const gate = linear(mlpRows, "mlp.gate_proj", config.mlpBias);
  const silu = b.node("QuickGelu", [gate], { domain: microsoft, attributes: { alpha: { float: 1 } } });
  const inner = b.node("Mul", [silu, linear(mlpRows, "mlp.up_proj", config.mlpBias)]);
  inputsOf("down", inner);
  const out = b.node("Add", [between, linear(inner, "mlp.down_proj", config.mlpBias)], { output: "hidden_out" });
  for (const output of [attentionInput, mlpInput, out]) b.output(output, "float32", ["T", hiddenSize]);
  return b.build().graph;
}

export function gramOutput(name: Product): string {
  return `gram.${name}`;
}
