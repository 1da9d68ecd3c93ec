import { describe, expect, it } from "vitest";
import { parseLlamaConfig } from "../../src/convert/llama-config.js";
import { rotaryFrequencies } from "../../src/convert/rotary-table.js";
import { ToastError } from "../../src/errors.js";
import { configJson } from "./tiny-folder.js";

const parse = (overrides: Readonly<Record<string, unknown>> = {}) =>
  parseLlamaConfig(configJson(overrides), "config.json");

describe("config.json of a LLaMA decoder", () => {
  it("may leave out what has a default", () => {
    const config = parseLlamaConfig(
      {
        model_type: "llama",
        hidden_size: 64,
        intermediate_size: 96,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        vocab_size: 100,
      },
      "config.json",
    );
    expect(config).toMatchObject({ kvHeads: 4, headDim: 16, ropeTheta: 10000, rmsNormEps: 1e-6, contextLength: 2048 });
    expect(config).toMatchObject({ tiedEmbeddings: false, bosTokenId: null, eosTokenIds: [], padTokenId: null });
    expect(config.ropeScaling).toEqual({ kind: "default" });
  });

  it("may name rope in either spelling", () => {
    const scaling = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 32 };
    const older = parse({ rope_theta: 500000, rope_scaling: { rope_type: "llama3", ...scaling } });
    const newer = parse({ rope_parameters: { rope_type: "llama3", rope_theta: 500000, ...scaling } });
    expect(older.ropeScaling).toEqual(newer.ropeScaling);
    expect(older.ropeTheta).toBe(newer.ropeTheta);
    expect(rotaryFrequencies(older)).toEqual(rotaryFrequencies(newer));
    expect(parse({ rope_scaling: { type: "linear", factor: 2 } }).ropeScaling).toEqual({ kind: "linear", factor: 2 });
    expect(parse({ rope_scaling: { type: "default" }, rope_parameters: null }).ropeScaling).toEqual({
      kind: "default",
    });
  });

  it("may list several end-of-sequence tokens, and say -1 for none", () => {
    expect(parse({ eos_token_id: [2, 7], pad_token_id: -1 })).toMatchObject({ eosTokenIds: [2, 7], padTokenId: null });
  });

  it("may carry keys that change nothing", () => {
    expect(() =>
      parse({ pretraining_tp: 2, attention_dropout: 0.1, torch_dtype: "float16", use_cache: true }),
    ).not.toThrow();
  });
});

describe("config.json is refused", () => {
  it.each([
    ["another architecture", { architectures: ["MistralForCausalLM"], model_type: "mistral" }, "MistralForCausalLM"],
    ["another model type", { architectures: null, model_type: "gpt2" }, "gpt2"],
    ["a head that is no language model", { architectures: ["LlamaForSequenceClassification"] }, "LlamaForSeq"],
    ["another activation", { hidden_act: "gelu" }, "gelu"],
    ["weights already quantized", { quantization_config: { quant_method: "gptq" } }, "quantization_config"],
  ])("for %s", (_, overrides, named) => {
    const error = refusal(() => parse(overrides));
    expect(error.code).toBe("unsupported_architecture");
    expect(error.message).toContain(named);
  });

  it.each(["yarn", "dynamic", "longrope", "su"])("for the rope type %s", (type) => {
    for (const key of ["rope_scaling", "rope_parameters"]) {
      const error = refusal(() => parse({ [key]: { rope_type: type, factor: 4 } }));
      expect(error.code).toBe("unsupported_rope");
      expect(error.message).toContain(`rope type ${type} is not supported; default, linear and llama3 are`);
    }
  });

  it("for rotary positions on a part of each head", () => {
    expect(refusal(() => parse({ partial_rotary_factor: 0.5 })).code).toBe("unsupported_rope");
  });

  it.each([
    ["heads that do not divide", { num_attention_heads: 5, num_key_value_heads: 2 }, "5 query heads cannot share 2"],
    ["an odd head_dim", { head_dim: 7 }, "even head_dim, not 7"],
    ["a hidden size that heads do not divide", { head_dim: null, hidden_size: 20 }, "20 is no multiple of 6 heads"],
    ["a missing size", { hidden_size: undefined }, "hidden_size"],
    ["a size that is no number", { vocab_size: "many" }, "vocab_size"],
    ["linear rope without its factor", { rope_scaling: { type: "linear" } }, "needs factor"],
    [
      "llama3 rope with its bounds crossed",
      { rope_scaling: { rope_type: "llama3", factor: 8, low_freq_factor: 4, high_freq_factor: 1 } },
      "high_freq_factor above low_freq_factor",
    ],
  ])("for %s", (_, overrides, message) => {
    const error = refusal(() => parse(overrides));
    expect(error.code).toBe("invalid_config");
    expect(error.message).toContain(message);
  });

  it.each([[null], [[1]], ["llama"], [{}]])("when it is %j", (json) => {
    expect(["invalid_config", "unsupported_architecture"]).toContain(refusal(() => parseLlamaConfig(json, "x")).code);
  });
});

function refusal(work: () => unknown): ToastError {
  try {
    work();
  } catch (error) {
    if (error instanceof ToastError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}
