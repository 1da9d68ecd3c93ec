import type { Quantization } from "../model/manifest.js";
import { rotationBlock } from "../model/rotation.js";
import type { Calibration, NormPart } from "./calibration/calibration.js";
import type { Product } from "./calibration/layer-graph.js";
import type { LlamaConfig } from "./llama-config.js";
import { type RowSource, rotated, rotatedOutputs, scaled, tensors } from "./weight-source.js";

/** Channels of the residual stream that are turned together; 1: it is as the model was trained. */
export function residualRotation({ hiddenSize }: Pick<LlamaConfig, "hiddenSize">, quantization: Quantization): number {
  return quantization === "none" ? 1 : rotationBlock(hiddenSize);
}

/** A float32 vector of a norm. */
export interface NormGain {
  readonly name: string;
  readonly rows: RowSource;
}

/** A linear layer, or several that share an input, their outputs behind each other. */
export interface ProductWeights {
  readonly name: string;
  readonly outSize: number;
  readonly inSize: number;
  readonly rows: RowSource;
  readonly bias: RowSource | null;
  /** See quantize/compensated-rounding.ts. */
  readonly spread?: () => Promise<Float32Array | null>;
}

/**
 * What the decoder's graph multiplies with, made of the source's tensors.
 *
 * Quantized, the residual stream is kept *turned* (model/rotation.ts): whatever writes to it (the embedding table, o,
 * down) writes turned values, whatever reads it (q, k, v, gate, up) has turned weights, and its channels are alike
 * enough for one scale a row, or a block. The root mean square of a norm is the same either way, so the norm's gain
 * moves into the weights behind it; in its place stands what a calibration wants the channels divided by. All of this
 * happens here, none of it at run time.
 */
export class DecoderWeights {
  readonly #config: LlamaConfig;
  readonly #calibration: Calibration | null;
  /** See `residualRotation`. */
  readonly basis: number;
  /** Whether the norms' gains are in the weights behind them. */
  readonly #foldsGains: boolean;

  constructor(config: LlamaConfig, quantization: Quantization, calibration: Calibration | null) {
    this.#config = config;
    this.#calibration = calibration;
    this.basis = residualRotation(config, quantization);
    this.#foldsGains = quantization !== "none";
  }

  /** The gain of the norm before attention or MLP. */
  norm(layer: number, part: NormPart): NormGain {
    const name = normTensor(layer, part);
    if (!this.#foldsGains) return { name, rows: tensors(name) };
    const inverse = async () => (await this.#scales(layer, part)).map((scale) => 1 / scale);
    return { name, rows: { kind: "computed", compute: inverse } };
  }

  product(layer: number, product: Product): ProductWeights {
    const { heads, kvHeads, headDim, hiddenSize, intermediateSize, attentionBias, mlpBias } = this.#config;
    const common = { name: `layers.${layer}.${product}`, ...this.#spread(layer, product) };
    switch (product) {
      case "qkv":
        return {
          ...common,
          outSize: (heads + 2 * kvHeads) * headDim,
          inSize: hiddenSize,
          ...this.#reading(layer, "attention", ["self_attn.q", "self_attn.k", "self_attn.v"], attentionBias),
        };
      case "o": {
        const rows = this.#writing(layer, "self_attn.o", attentionBias);
        return { ...common, outSize: hiddenSize, inSize: heads * headDim, ...rows };
      }
      case "gate_up":
        return {
          ...common,
          outSize: 2 * intermediateSize,
          inSize: hiddenSize,
          ...this.#reading(layer, "mlp", ["mlp.gate", "mlp.up"], mlpBias),
        };
      case "down": {
        const rows = this.#writing(layer, "mlp.down", mlpBias);
        return { ...common, outSize: hiddenSize, inSize: intermediateSize, ...rows };
      }
    }
  }

  /** Layers that read the residual stream, stacked. */
  #reading(layer: number, part: NormPart, names: readonly string[], hasBias: boolean) {
    const stacked = (kind: "weight" | "bias") =>
      tensors(...names.map((name) => `model.layers.${layer}.${name}_proj.${kind}`));
    const gained = rotated(scaled(stacked("weight"), tensors(normTensor(layer, part))), this.basis);
    const scales: RowSource = { kind: "computed", compute: () => this.#scales(layer, part) };
    const rows = this.#foldsGains ? scaled(gained, scales) : stacked("weight");
    return { rows, bias: hasBias ? stacked("bias") : null };
  }

  /** A layer that adds to the residual stream. */
  #writing(layer: number, name: string, hasBias: boolean) {
    const of = (kind: "weight" | "bias") => tensors(`model.layers.${layer}.${name}_proj.${kind}`);
    // A bias is one row of outputs.
    return { rows: rotatedOutputs(of("weight"), this.basis), bias: hasBias ? rotated(of("bias"), this.basis) : null };
  }

  /** float32 [D] */
  async #scales(layer: number, part: NormPart): Promise<Float32Array> {
    return this.#calibration?.scales(layer, part) ?? new Float32Array(this.#config.hiddenSize).fill(1);
  }

  #spread(layer: number, product: Product): Pick<ProductWeights, "spread"> {
    const calibration = this.#calibration;
    return calibration === null ? {} : { spread: () => calibration.spread(layer, product) };
  }
}

function normTensor(layer: number, part: NormPart): string {
  return `model.layers.${layer}.${part === "attention" ? "input" : "post_attention"}_layernorm.weight`;
}
