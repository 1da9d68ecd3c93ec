import { cpSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import type { WrittenTensor, WrittenValue } from "../../../src/convert/gguf/gguf-writer.js";
import { openSourceModel } from "../../../src/convert/open-source-model.js";
import type { SourceModel } from "../../../src/convert/source-model.js";
import { ToastError } from "../../../src/errors.js";
import { makeTinyFolder, temporaryFolder } from "../tiny-folder.js";
import { floatTensor, makeTinyGguf } from "./gguf-file.js";

type Bend = (metadata: Map<string, WrittenValue>, tensors: WrittenTensor[]) => void;

async function opened<T>(bend: Bend, look: (model: SourceModel) => T | Promise<T>): Promise<T> {
  const { path } = await makeTinyGguf(bend);
  const model = await openSourceModel(path);
  try {
    return await look(model);
  } finally {
    await model.close();
  }
}

async function refusal(bend: Bend): Promise<ToastError> {
  return opened(bend, () => new Error("it was opened")).catch((error: unknown) => {
    if (error instanceof ToastError) return error;
    throw error;
  }) as Promise<ToastError>;
}

const set =
  (key: string, value: WrittenValue): Bend =>
  (metadata) => {
    metadata.set(key, value);
  };
const integer = (value: number): WrittenValue => ({ kind: "uint32", value });
const float = (value: number): WrittenValue => ({ kind: "float32", value });
const words = (value: string): WrittenValue => ({ kind: "string", value });
const without =
  (name: string): Bend =>
  (metadata, tensors) => {
    metadata.delete(name);
    const index = tensors.findIndex((tensor) => tensor.name === name);
    if (index !== -1) tensors.splice(index, 1);
  };
const withTensor =
  (name: string, dimensions: readonly number[], value = 1): Bend =>
  (_, tensors) => {
    const size = dimensions.reduce((product, length) => product * length, 1);
    tensors.push(floatTensor(name, dimensions, new Float32Array(size).fill(value)));
  };

describe("the decoder in a GGUF file", () => {
  it("has the tensors of the model that it was made of, rows of q and k in their order", async () => {
    const { path, config, tensors } = await makeTinyGguf();
    const model = await openSourceModel(path);
    expect(model.config).toMatchObject({ ...config, rmsNormEps: Math.fround(1e-5), bosTokenId: null });
    for (const [name, { values }] of Object.entries(tensors)) {
      const read: number[] = [];
      for await (const rows of model.tensors.floatRows(name)) read.push(...rows);
      expect(Float32Array.from(read), name).toEqual(values);
    }
    await model.close();
  });

  it("takes its head for the embedding table when it has none", async () => {
    expect(await opened(without("output.weight"), ({ config }) => config.tiedEmbeddings)).toBe(true);
    expect(
      await opened(
        () => {},
        ({ config }) => config.tiedEmbeddings,
      ),
    ).toBe(false);
  });

  it("takes a bias that is left out beside others for zero", async () => {
    const biases = await opened(withTensor("blk.1.attn_q.bias", [60], 2), async (model) => {
      expect(model.config).toMatchObject({ attentionBias: true, mlpBias: false });
      const all = [];
      for (const name of ["model.layers.1.self_attn.q_proj.bias", "model.layers.2.self_attn.o_proj.bias"]) {
        for await (const rows of model.tensors.floatRows(name)) all.push([...new Set(rows), rows.length]);
      }
      return all;
    });
    expect(biases).toEqual([
      [2, 60],
      [0, 21],
    ]);
  });

  it.each([
    ["nothing", () => {}, { kind: "default" }],
    ["a linear factor", set("llama.rope.scaling.factor", float(4)), { kind: "linear", factor: 4 }],
    ["the old name of it", set("llama.rope.scale_linear", float(2)), { kind: "linear", factor: 2 }],
    ["a factor of 0", set("llama.rope.scaling.factor", float(0)), { kind: "default" }],
    ["factors", withTensor("rope_freqs.weight", [5], 8), { kind: "factors", factor: 1, factors: [8, 8, 8, 8, 8] }],
  ] as const)("stretches its rotary frequencies by %s", async (_, bend, scaling) => {
    expect(await opened(bend, ({ config }) => config.ropeScaling)).toEqual(scaling);
  });

  it("may have a number for each layer where all are the same", async () => {
    const each = (value: number[]): WrittenValue => ({ kind: "int32s", value });
    const heads = await opened(set("llama.attention.head_count_kv", each([2, 2, 2])), ({ config }) => config.kvHeads);
    expect(heads).toBe(2);
    const error = await refusal(set("llama.attention.head_count_kv", each([2, 1, 2])));
    expect(error.message).toMatch(/head_count_kv differs between layers/);
  });

  it.each([
    [
      "another architecture",
      set("general.architecture", words("qwen3")),
      "unsupported_architecture",
      /architecture qwen3 is not supported; llama is/,
    ],
    ["experts", set("llama.expert_count", integer(8)), "unsupported_architecture", /llama\.expert_count \(8\)/],
    [
      "a sliding window",
      set("llama.attention.sliding_window", integer(4096)),
      "unsupported_architecture",
      /sliding_window \(4096\)/,
    ],
    [
      "a setting to come",
      set("llama.attention.spin", words("left")),
      "unsupported_architecture",
      /llama\.attention\.spin \(left\)/,
    ],
    [
      "norms of queries",
      withTensor("blk.0.attn_q_norm.weight", [10]),
      "unsupported_architecture",
      /tensor blk\.0\.attn_q_norm\.weight has no place/,
    ],
    [
      "joined projections",
      withTensor("blk.0.attn_qkv.weight", [21, 100]),
      "unsupported_architecture",
      /attn_qkv\.weight has no place/,
    ],
    [
      "heads that rotate in part",
      set("llama.rope.dimension_count", integer(8)),
      "unsupported_architecture",
      /dimension_count 8 is not the head size 10/,
    ],
    [
      "values of another size",
      set("llama.attention.value_length", integer(8)),
      "unsupported_architecture",
      /value_length 8 is not/,
    ],
    ["yarn", set("llama.rope.scaling.type", words("yarn")), "unsupported_rope", /rope scaling yarn is not supported/],
    [
      "a factor that is no number",
      set("llama.rope.scaling.factor", float(Number.NaN)),
      "invalid_config",
      /factor of NaN/,
    ],
    ["factors of 0", withTensor("rope_freqs.weight", [5], 0), "invalid_config", /rope_freqs\.weight holds 0/],
    [
      "too few factors",
      withTensor("rope_freqs.weight", [4]),
      "misshapen_tensor",
      /rope_freqs\.weight has dimensions \[4\], expected \[5\]/,
    ],
    [
      "heads that cannot share",
      set("llama.attention.head_count_kv", integer(4)),
      "invalid_config",
      /6 query heads cannot share 4/,
    ],
    ["heads of odd length", set("llama.attention.key_length", integer(7)), "invalid_config", /heads of 7 elements/],
    ["no layers", set("llama.block_count", integer(0)), "invalid_config", /llama\.block_count is 0/],
    [
      "a billion layers",
      set("llama.block_count", integer(1 << 20)),
      "missing_tensor",
      /names 1048576 layers, and holds 30 tensors/,
    ],
    ["no width", without("llama.embedding_length"), "invalid_config", /llama\.embedding_length is missing/],
    [
      "a width in words",
      set("llama.embedding_length", words("wide")),
      "invalid_config",
      /has to be an integer, not a text/,
    ],
    [
      "an epsilon below 0",
      set("llama.attention.layer_norm_rms_epsilon", float(-1)),
      "invalid_config",
      /has to be above 0/,
    ],
    [
      "another width",
      set("llama.embedding_length", integer(22)),
      "misshapen_tensor",
      /token_embd\.weight has dimensions \[21, 53\], expected \[22, 53\]/,
    ],
    ["no embedding table", without("token_embd.weight"), "missing_tensor", /no embedding table/],
    [
      "no down projection",
      without("blk.2.ffn_down.weight"),
      "missing_tensor",
      /blk\.2\.ffn_down\.weight \[37, 21\] is missing/,
    ],
    [
      "no tokens",
      without("tokenizer.ggml.tokens"),
      "unsupported_tokenizer",
      /has no vocabulary \(tokenizer\.ggml\.tokens\)/,
    ],
  ] as const)("is refused by name with %s", async (_, bend, code, sentence) => {
    const error = await refusal(bend);
    expect(error.message).toMatch(sentence);
    expect(error.code).toBe(code);
  });
});

describe("what a GGUF file says beside its weights", () => {
  const tokens = (pieces: Readonly<Record<number, string>>, types: Readonly<Record<number, number>> = {}): Bend => {
    return (metadata) => {
      const all = Array.from({ length: 53 }, (_, id) => pieces[id] ?? `w${id}`);
      metadata.set("tokenizer.ggml.tokens", { kind: "strings", value: all });
      metadata.set("tokenizer.ggml.token_type", { kind: "int32s", value: all.map((_, id) => types[id] ?? 1) });
    };
  };
  const both =
    (...bends: readonly Bend[]): Bend =>
    (metadata, tensors) => {
      for (const bend of bends) bend(metadata, tensors);
    };

  it("ends generation where llama.cpp does: at the tokens named, and at those whose text means an end", async () => {
    const pieces = { 7: "<|im_start|>", 8: "<|im_end|>", 9: "<|endoftext|>", 10: "</s>", 11: "<|eot_id|>" };
    const model = words("gpt2");
    const bend = both(
      tokens(pieces, { 7: 3, 8: 3, 9: 3, 10: 1, 11: 4 }),
      set("tokenizer.ggml.model", model),
      set("tokenizer.ggml.eos_token_id", integer(8)),
      set("tokenizer.ggml.eot_token_id", integer(5)),
      set("tokenizer.ggml.bos_token_id", integer(7)),
      set("tokenizer.ggml.padding_token_id", integer(9)),
    );
    const special = await opened(bend, (source) => source.tokens);
    expect(special.eos.map(({ id }) => id)).toEqual([8, 5, 9, 10, 11]);
    expect(special.bos).toEqual({ id: 7, text: "<|im_start|>" });
    expect(special.pad).toEqual({ id: 9, text: "<|endoftext|>" });
  });

  it("has the customary tokens where a SentencePiece model names none", async () => {
    const special = await opened(without("tokenizer.ggml.eos_token_id"), (source) => source.tokens);
    expect(special).toEqual({ bos: { id: 1, text: "<s>" }, eos: [{ id: 2, text: "</s>" }], pad: null });
  });

  it.each([
    ["a special token that is none", set("tokenizer.ggml.eos_token_id", integer(53)), /53/],
    [
      "nothing that ends",
      both(tokens({ 2: "fin" }), set("tokenizer.ggml.eos_token_id", { kind: "int32", value: -1 })),
      /names no end-of-sequence token/,
    ],
    [
      "more tokens than rows",
      set("tokenizer.ggml.tokens", { kind: "strings", value: Array.from({ length: 54 }, (_, id) => `t${id}`) }),
      /(has 54 tokens|54 tokens)/,
    ],
  ])("is refused with %s", async (_, bend, sentence) => {
    const error = await refusal(bend);
    expect(error.code).toBe("unsupported_tokenizer");
    expect(error.message).toMatch(sentence);
  });

  it("recommends sampling within the bounds, and says what of it is left out", async () => {
    const bend = both(
      set("general.sampling.temp", float(0.2)),
      set("general.sampling.top_k", integer(40)),
      set("general.sampling.top_p", float(1.5)),
      set("general.sampling.penalty_repeat", float(1.1)),
      set("general.sampling.mirostat", integer(2)),
    );
    const { sampling, warnings } = await opened(bend, (model) => model);
    expect(sampling).toEqual({ temperature: 0.2, top_k: 40, repetition_penalty: 1.1 });
    expect(warnings).toEqual([
      "general.sampling.top_p recommends 1.5, which is out of bounds, and is left out.",
      "general.sampling.mirostat is a recommendation that is not carried over.",
    ]);
  });

  it("is added to by a generation_config.json beside it", async () => {
    const { path } = await makeTinyGguf(set("general.sampling.temp", float(0.2)));
    const beside = { temperature: 0.6, min_p: 0.1, eos_token_id: [2, 7] };
    writeFileSync(join(dirname(path), "generation_config.json"), JSON.stringify(beside));
    const model = await openSourceModel(path);
    expect(model.sampling).toEqual({ temperature: 0.6, min_p: 0.1 });
    expect(model.tokens.eos.map(({ id }) => id)).toEqual([2, 7]);
    await model.close();
  });

  it("names template and licence, or none", async () => {
    const bend = both(set("tokenizer.chat_template", words("{{ x }}")), set("general.license", words("mit")));
    expect(await opened(bend, ({ chatTemplate, licence }) => [chatTemplate, licence])).toEqual(["{{ x }}", "mit"]);
    expect(
      await opened(
        () => {},
        ({ chatTemplate, licence }) => [chatTemplate, licence],
      ),
    ).toEqual([null, null]);
  });

  it("takes the tokenizer.json beside it if it is its own", async () => {
    const { path } = await makeTinyGguf();
    const tokenizer = join(dirname(path), "tokenizer.json");
    const model = await openSourceModel(path);
    expect(Buffer.from(model.tokenizer)).toEqual(readFileSync(tokenizer));
    await model.close();
    writeFileSync(tokenizer, readFileSync(tokenizer, "utf8").replace('"w9"', '"x9"'));
    await expect(openSourceModel(path)).rejects.toThrow(
      /another model's: its token 9 is "x9", in .*tiny\.gguf it is "w9"/,
    );
  });
});

describe("where a GGUF model is looked for", () => {
  it("a folder with one, or with its parts; not where safetensors are", async () => {
    const { path } = await makeTinyGguf();
    const folder = dirname(path);
    const model = await openSourceModel(folder);
    expect(model.name).toBe("tiny");
    await model.close();
    makeTinyFolder({}, { path: folder });
    const other = await openSourceModel(folder);
    expect(other.name).not.toBe("tiny");
    await other.close();
  });

  it("several in a folder are asked about", async () => {
    const { path } = await makeTinyGguf();
    cpSync(path, join(dirname(path), "small.gguf"));
    await expect(openSourceModel(dirname(path))).rejects.toThrow(
      /several GGUF models; name one of them: small\.gguf, tiny\.gguf/,
    );
  });

  it("a part is missed by name", async () => {
    const here = new URL("./", import.meta.url).pathname;
    const folder = temporaryFolder();
    const second = "factors-00002-of-00002.gguf";
    cpSync(`${here}${second}`, join(folder, second));
    for (const path of [folder, join(folder, second)]) {
      await expect(openSourceModel(path)).rejects.toThrow(/factors-00001-of-00002\.gguf is missing: .* one of 2 parts/);
    }
  });

  it("what is not there, is no model or another file is told apart", async () => {
    const { path } = await makeTinyGguf();
    const folder = dirname(path);
    writeFileSync(join(folder, "model.bin"), "");
    await expect(openSourceModel(join(folder, "model.bin"))).rejects.toThrow(/is a file, but no \.gguf/);
    unlinkSync(path);
    await expect(openSourceModel(path)).rejects.toThrow(/tiny\.gguf is missing/);
    mkdirSync(join(folder, "empty"));
    await expect(openSourceModel(join(folder, "empty"))).rejects.toThrow(/config\.json is missing/);
  });
});
