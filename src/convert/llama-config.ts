import { z } from "zod";
import { ToastError } from "../errors.js";
import { schemaIssue } from "./schema-issue.js";

/** How rotary frequencies are stretched for contexts longer than the pre-training's. */
export type RopeScaling =
  | { readonly kind: "default" }
  | { readonly kind: "linear"; readonly factor: number }
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalContextLength: number;
    }
  /** GGUF: each of the Hd/2 frequencies divided by its own factor, and all by `factor`. */
  | { readonly kind: "factors"; readonly factors: readonly number[]; readonly factor: number };

/**
 * What config.json, or a GGUF file, says of a LLaMA-style decoder, under our names. Letters as in
 * model/tensor-names.ts.
 */
export interface LlamaConfig {
  /** L */
  readonly layers: number;
  /** D */
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  /** H */
  readonly heads: number;
  /** KV, a divisor of H */
  readonly kvHeads: number;
  /** Hd, even; H·Hd need not be D */
  readonly headDim: number;
  /** V */
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  /** The output head is the embedding table. */
  readonly tiedEmbeddings: boolean;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  readonly bosTokenId: number | null;
  /** May be empty: other files can still name them. */
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | null;
}

const tokenId = z.int().nonnegative();
/** Older folders write -1 for "none". */
const optionalTokenId = z.union([tokenId, z.literal(-1), z.null()]).optional();

const ropeSchema = z.looseObject({
  rope_type: z.string().optional(),
  /** The name of rope_type before 2024. */
  type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  factor: z.number().positive().optional(),
  low_freq_factor: z.number().positive().optional(),
  high_freq_factor: z.number().positive().optional(),
  original_max_position_embeddings: z.int().positive().optional(),
  partial_rotary_factor: z.number().optional(),
});

const size = z.int().positive();
/** Keys that change nothing in the forward pass (dropout, torch_dtype, pretraining_tp …) are left alone. */
const configSchema = z.looseObject({
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  vocab_size: size,
  max_position_embeddings: size.default(2048),
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  partial_rotary_factor: z.number().nullish(),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  bos_token_id: optionalTokenId,
  eos_token_id: z.union([optionalTokenId, z.array(tokenId)]),
  pad_token_id: optionalTokenId,
  quantization_config: z.unknown().optional(),
});

/** Today's name, that of the first conversions, and that of a decoder saved without its head. */
const classNames: ReadonlySet<string> = new Set(["LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel"]);

/** What has to be known before any other key means anything. */
const kindSchema = z.looseObject({
  model_type: z.string().optional(),
  architectures: z.array(z.string()).nullish(),
  hidden_act: z.string().optional(),
});

/**
 * Reads the parsed config.json of a Hugging Face folder.
 * @param file its path, for messages.
 * @throws ToastError `unsupported_architecture` for anything but LlamaForCausalLM with silu, `unsupported_rope` for a
 *   rope type other than default, linear and llama3, `invalid_config` for missing or contradictory values.
 */
export function parseLlamaConfig(json: unknown, file: string): LlamaConfig {
  const kind = parseWith(kindSchema, json, file);
  const architectures = kind.architectures ?? [];
  const isLlama =
    (kind.model_type === undefined || kind.model_type === "llama") &&
    (architectures.length === 0 || architectures.some((name) => classNames.has(name)));
  if (!isLlama || (kind.model_type === undefined && architectures.length === 0)) {
    const found = architectures[0] ?? kind.model_type ?? "none named";
    throw new ToastError(
      "unsupported_architecture",
      `${file}: architecture ${found} is not supported; LlamaForCausalLM (model_type llama) is.`,
    );
  }
  const activation = kind.hidden_act ?? "silu";
  if (activation !== "silu") {
    throw new ToastError(
      "unsupported_architecture",
      `${file}: the activation ${activation} is not supported; silu is.`,
    );
  }

  const config = parseWith(configSchema, json, file);
  if (config.quantization_config !== undefined && config.quantization_config !== null) {
    throw new ToastError(
      "unsupported_architecture",
      `${file}: the weights are already quantized (quantization_config); convert the f32, f16 or bf16 original.`,
    );
  }
  const heads = config.num_attention_heads;
  const kvHeads = config.num_key_value_heads ?? heads;
  if (heads % kvHeads !== 0) {
    throw new ToastError(
      "invalid_config",
      `${file}: ${heads} query heads cannot share ${kvHeads} key/value heads evenly.`,
    );
  }
  const headDim = config.head_dim ?? config.hidden_size / heads;
  if (!Number.isInteger(headDim)) {
    throw new ToastError(
      "invalid_config",
      `${file}: hidden_size ${config.hidden_size} is no multiple of ${heads} heads, and head_dim is not given.`,
    );
  }
  if (headDim % 2 !== 0) {
    throw new ToastError("invalid_config", `${file}: rotary positions need an even head_dim, not ${headDim}.`);
  }
  // `rope_parameters` is the newer spelling and holds rope_theta as well.
  const rope = config.rope_parameters ?? config.rope_scaling ?? {};
  const partial = config.partial_rotary_factor ?? rope.partial_rotary_factor ?? 1;
  if (partial !== 1) {
    throw new ToastError(
      "unsupported_rope",
      `${file}: rotary positions on a part of each head (partial_rotary_factor ${partial}) are not supported.`,
    );
  }
  const eos = config.eos_token_id;
  return {
    layers: config.num_hidden_layers,
    hiddenSize: config.hidden_size,
    intermediateSize: config.intermediate_size,
    heads,
    kvHeads,
    headDim,
    vocabSize: config.vocab_size,
    contextLength: config.max_position_embeddings,
    rmsNormEps: config.rms_norm_eps,
    ropeTheta: rope.rope_theta ?? config.rope_theta ?? 10000,
    ropeScaling: parseRopeScaling(rope, config.max_position_embeddings, file),
    tiedEmbeddings: config.tie_word_embeddings,
    attentionBias: config.attention_bias,
    mlpBias: config.mlp_bias,
    bosTokenId: idOrNull(config.bos_token_id),
    eosTokenIds: Array.isArray(eos) ? eos : [idOrNull(eos)].filter((id) => id !== null),
    padTokenId: idOrNull(config.pad_token_id),
  };
}

function parseRopeScaling(rope: z.infer<typeof ropeSchema>, contextLength: number, file: string): RopeScaling {
  const kind = rope.rope_type ?? rope.type ?? "default";
  const need = (key: "factor" | "low_freq_factor" | "high_freq_factor"): number => {
    const value = rope[key];
    if (value === undefined) throw new ToastError("invalid_config", `${file}: rope type ${kind} needs ${key}.`);
    return value;
  };
  switch (kind) {
    case "default":
      return { kind };
    case "linear":
      return { kind, factor: need("factor") };
    case "llama3": {
      const lowFreqFactor = need("low_freq_factor");
      const highFreqFactor = need("high_freq_factor");
      if (highFreqFactor <= lowFreqFactor) {
        throw new ToastError(
          "invalid_config",
          `${file}: rope type llama3 needs high_freq_factor above low_freq_factor, not ${highFreqFactor} and ${lowFreqFactor}.`,
        );
      }
      const originalContextLength = rope.original_max_position_embeddings ?? contextLength;
      return { kind, factor: need("factor"), lowFreqFactor, highFreqFactor, originalContextLength };
    }
    default:
      throw new ToastError(
        "unsupported_rope",
        `${file}: rope type ${kind} is not supported; default, linear and llama3 are.`,
      );
  }
}

function idOrNull(id: number | null | undefined): number | null {
  return id === undefined || id === null || id < 0 ? null : id;
}

function parseWith<T>(schema: z.ZodType<T>, json: unknown, file: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new ToastError("invalid_config", `${file}: ${schemaIssue(parsed.error)}.`);
}
