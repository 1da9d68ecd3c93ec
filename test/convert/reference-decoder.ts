import type { LlamaConfig } from "../../src/convert/llama-config.js";
import type { Tensors } from "./tiny-folder.js";

/** What a pass over T tokens gives, all float64 and per token. */
export interface ReferencePass {
  /** [T][D] */
  readonly hidden: number[][];
  /** [T][V] */
  readonly logits: number[][];
}

type TopDown = (layer: number, token: number) => readonly number[];

/** A LLaMA decoder and the method's feedback path in plain float64 loops, straight from the formulas: no cache, no folding. */
export class ReferenceDecoder {
  readonly #config: LlamaConfig;
  readonly #tensors: Tensors;

  constructor(config: LlamaConfig, tensors: Tensors) {
    this.#config = config;
    this.#tensors = tensors;
  }

  /** @param topDown td_l [D] of a token, added to what the value projection reads; bottom-up: leave it out. */
  run(ids: readonly number[], topDown?: TopDown): ReferencePass {
    const { layers, heads, kvHeads, headDim, hiddenSize, tiedEmbeddings } = this.#config;
    const frequencies = this.#frequencies();
    let hidden = ids.map((id) => this.#rowsOf("model.embed_tokens.weight", id, hiddenSize));
    for (let layer = 0; layer < layers; layer++) {
      const p = `model.layers.${layer}`;
      const normed = hidden.map((h) => this.#norm(h, `${p}.input_layernorm.weight`));
      const q = normed.map((x, t) => rotate(this.#linear(x, `${p}.self_attn.q_proj`), headDim, t, frequencies));
      const k = normed.map((x, t) => rotate(this.#linear(x, `${p}.self_attn.k_proj`), headDim, t, frequencies));
      const v = normed.map((x, t) => {
        const td = topDown?.(layer, t);
        return this.#linear(td === undefined ? x : add(x, td), `${p}.self_attn.v_proj`);
      });
      hidden = hidden.map((h, t) => {
        const mixed: number[] = [];
        for (let head = 0; head < heads; head++) {
          const kvHead = Math.floor((head * kvHeads) / heads);
          const scores = k
            .slice(0, t + 1)
            .map((key) => dot(slice(q[t], head, headDim), slice(key, kvHead, headDim)) / Math.sqrt(headDim));
          const weights = softmax(scores);
          for (let i = 0; i < headDim; i++) {
            mixed.push(weights.reduce((sum, w, s) => sum + w * at(v[s], kvHead * headDim + i), 0));
          }
        }
        return add(h, this.#linear(mixed, `${p}.self_attn.o_proj`));
      });
      hidden = hidden.map((h) => {
        const x = this.#norm(h, `${p}.post_attention_layernorm.weight`);
        const gate = this.#linear(x, `${p}.mlp.gate_proj`);
        const up = this.#linear(x, `${p}.mlp.up_proj`);
        const inner = gate.map((g, i) => (g / (1 + Math.exp(-g))) * at(up, i));
        return add(h, this.#linear(inner, `${p}.mlp.down_proj`));
      });
    }
    const head = tiedEmbeddings ? "model.embed_tokens" : "lm_head";
    return { hidden, logits: hidden.map((h) => this.#linear(this.#norm(h, "model.norm.weight"), head)) };
  }

  #linear(x: readonly number[], name: string): number[] {
    return linear(this.#tensors, x, name);
  }

  #rowsOf(name: string, row: number, size: number): number[] {
    return [...valuesOf(this.#tensors, name).subarray(row * size, (row + 1) * size)];
  }

  #norm(x: readonly number[], name: string): number[] {
    const inverse = 1 / Math.sqrt(dot(x, x) / x.length + this.#config.rmsNormEps);
    const gains = valuesOf(this.#tensors, name);
    return x.map((value, i) => value * inverse * (gains[i] ?? Number.NaN));
  }

  #frequencies(): number[] {
    const { headDim, ropeTheta, ropeScaling: scaling } = this.#config;
    return Array.from({ length: headDim / 2 }, (_, i) => {
      const frequency = ropeTheta ** ((-2 * i) / headDim);
      if (scaling.kind === "default") return frequency;
      if (scaling.kind === "linear") return frequency / scaling.factor;
      if (scaling.kind === "factors") return frequency / (scaling.factors[i] ?? Number.NaN) / scaling.factor;
      const turns = (scaling.originalContextLength * frequency) / (2 * Math.PI);
      if (turns >= scaling.highFreqFactor) return frequency;
      if (turns <= scaling.lowFreqFactor) return frequency / scaling.factor;
      const keep = (turns - scaling.lowFreqFactor) / (scaling.highFreqFactor - scaling.lowFreqFactor);
      return (1 - keep) * (frequency / scaling.factor) + keep * frequency;
    });
  }
}

/** relevance [T] and td [L][T][D] by walking the feedback path, unfolded. */
export function referenceFeedback(
  layers: number,
  adapter: { tensors: Tensors; alpha: number; rank: number; features: "raw" | "unit_rms" },
  hidden: readonly number[][],
): { relevance: number[]; topDown: number[][][] } {
  const prompt = [...valuesOf(adapter.tensors, "model.prompt")];
  const transform = valuesOf(adapter.tensors, "model.top_down_transform");
  const size = prompt.length;
  const relevance: number[] = [];
  const topDown: number[][][] = Array.from({ length: layers }, () => []);
  for (const z of hidden) {
    const cosine = dot(z, prompt) / (Math.sqrt(dot(z, z)) * Math.sqrt(dot(prompt, prompt)));
    const share = Math.min(1, Math.max(0, cosine));
    relevance.push(share);
    const weight = adapter.features === "raw" ? share : share / Math.sqrt(dot(z, z) / size);
    let x = Array.from({ length: size }, (_, column) =>
      z.reduce((sum, value, row) => sum + value * weight * (transform[row * size + column] ?? Number.NaN), 0),
    );
    for (let layer = layers - 1; layer >= 0; layer--) {
      x = feedbackLinear(adapter, x, `model.decoders.${layer}.linear`);
      topDown[layer]?.push(feedbackLinear(adapter, x, `model.decoders.${layer}.linear2`));
    }
  }
  return { relevance, topDown };
}

function feedbackLinear(
  { tensors, alpha, rank }: { tensors: Tensors; alpha: number; rank: number },
  x: readonly number[],
  name: string,
): number[] {
  const y = linear(tensors, x, name);
  if (tensors[`${name}.lora_A`] === undefined) return y;
  const down = times(valuesOf(tensors, `${name}.lora_A`), x);
  return add(
    y,
    times(valuesOf(tensors, `${name}.lora_B`), down).map((value) => (value * alpha) / rank),
  );
}

function linear(tensors: Tensors, x: readonly number[], name: string): number[] {
  const y = times(valuesOf(tensors, `${name}.weight`), x);
  const bias = tensors[`${name}.bias`]?.values;
  return bias === undefined ? y : y.map((value, i) => value + (bias[i] ?? Number.NaN));
}

/** matrix [rows, x.length] · x */
function times(matrix: Float32Array, x: readonly number[]): number[] {
  return Array.from({ length: matrix.length / x.length }, (_, row) =>
    x.reduce((sum, value, i) => sum + value * (matrix[row * x.length + i] ?? Number.NaN), 0),
  );
}

function rotate(x: readonly number[], headDim: number, position: number, frequencies: readonly number[]): number[] {
  const half = headDim / 2;
  return x.map((value, index) => {
    const i = index % headDim;
    const angle = position * at(frequencies, i % half);
    const other = i < half ? -at(x, index + half) : at(x, index - half);
    return value * Math.cos(angle) + other * Math.sin(angle);
  });
}

function softmax(scores: readonly number[]): number[] {
  const top = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function valuesOf(tensors: Tensors, name: string): Float32Array {
  const tensor = tensors[name];
  if (tensor === undefined) throw new Error(`no tensor ${name}`);
  return tensor.values;
}

function slice(x: readonly number[] | undefined, head: number, headDim: number): number[] {
  return (x ?? []).slice(head * headDim, (head + 1) * headDim);
}

function at(x: readonly number[] | undefined, index: number): number {
  return x?.[index] ?? Number.NaN;
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * at(b, i), 0);
}

function add(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, i) => value + at(b, i));
}
