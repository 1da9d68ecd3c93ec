import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type ConvertOptions, convert } from "../../src/convert/convert.js";
import type { ConvertProgress } from "../../src/convert/convert-progress.js";
import { ToastError } from "../../src/errors.js";
import { type BackboneManifest, quantizations } from "../../src/model/manifest.js";
import { readModelFolder, verifyModelFolder } from "../../src/model/model-folder.js";
import { builtinTemplates } from "../../src/text/builtin-templates.js";
import { writeSafetensors } from "./safetensors-file.js";
import {
  hashOf,
  makeHollowFolder,
  makeTinyAdapter,
  makeTinyFolder,
  type TinyFolder,
  temporaryFolder,
} from "./tiny-folder.js";

afterEach(() => {
  vi.restoreAllMocks();
});

/** A source folder and a place for the output, with nothing else beside either. */
function workplace(overrides: Readonly<Record<string, unknown>> = {}): {
  tiny: TinyFolder;
  parent: string;
  out: string;
} {
  const parent = temporaryFolder();
  return { tiny: makeTinyFolder(overrides, { path: join(parent, "tiny-llama") }), parent, out: join(parent, "served") };
}

function convertTiny(place: { tiny: TinyFolder; out: string }, options: Partial<ConvertOptions> = {}) {
  return convert({ source: place.tiny.path, out: place.out, quantize: "none", adapters: [], ...options });
}

describe("a converted folder", () => {
  it.each(["none", "int8", "int4"] as const)("loads and verifies (%s)", async (quantize) => {
    const place = workplace();
    const { file } = makeTinyAdapter(place.tiny, { kind: "lite" });
    const result = await convertTiny(place, { quantize, adapters: [{ file, name: "polite" }] });
    const folder = await readModelFolder(place.out);
    expect(folder.manifest).toEqual(result.manifest);
    expect(folder.adapters.map((adapter) => adapter.manifest)).toEqual(result.adapters);
    await verifyModelFolder(folder, () => {});
    // Of so small a model, unquantized, nothing is large enough for a part of its own.
    expect(readdirSync(place.out).sort()).toEqual([
      "adapters",
      "decoder.onnx",
      "decoder.onnx.data",
      ...(quantize === "none" ? [] : ["decoder.onnx.weights-1"]),
      "manifest.json",
      "tokenizer.json",
      "value_projections.safetensors",
    ]);
    expect(readdirSync(place.parent).sort()).toEqual(["served", "tiny-llama"]);
    expect(folder.manifest).toMatchObject({
      id: "tiny-llama",
      backboneSha256: hashOf(place.tiny.tensors),
      quantization: quantize,
      architecture: { layers: 3, hiddenSize: 21, heads: 6, kvHeads: 2, headDim: 10, vocabSize: 53, contextLength: 64 },
      chatTemplate: null,
      licence: null,
    });
    expect(folder.adapters[0]?.manifest).toMatchObject({
      kind: "lite",
      rank: 3,
      stage: "tuned",
      shape: { layers: 3, hiddenSize: 21, kvSize: 20 },
      quantization: quantize === "int4" ? "int8" : quantize,
      chatTemplate: builtinTemplates.alpaca,
    });
  });

  it("is a quarter of the size in int8", async () => {
    const sizes = { hidden_size: 64, intermediate_size: 172, head_dim: 16, vocab_size: 1000 };
    const plain = await convertTiny(workplace(sizes));
    const quantized = await convertTiny(workplace(sizes), { quantize: "int8" });
    expect(weightBytes(quantized.manifest) / weightBytes(plain.manifest)).toBeLessThan(0.3);
  });

  it("is about a sixth of the size in int4", async () => {
    const sizes = { hidden_size: 192, intermediate_size: 512, head_dim: 32, num_hidden_layers: 4 };
    const plain = await convertTiny(workplace(sizes));
    const quantized = await convertTiny(workplace(sizes), { quantize: "int4" });
    expect(weightBytes(quantized.manifest) / weightBytes(plain.manifest)).toBeLessThan(0.18);
  });

  it("keeps one table for tied embeddings", async () => {
    for (const quantize of ["none", "int8", "int4"] as const) {
      const tied = await convertTiny(workplace({ tie_word_embeddings: true, vocab_size: 999 }), { quantize });
      const untied = await convertTiny(workplace({ vocab_size: 999 }), { quantize });
      const saved = weightBytes(untied.manifest) - weightBytes(tied.manifest);
      expect(saved).toBeGreaterThanOrEqual(999 * 21 * (quantize === "none" ? 4 : 1));
    }
  });

  it("does not depend on how the weights were spread over files", async () => {
    const whole = workplace();
    const sharded = workplace();
    shard(sharded.tiny);
    const first = await convertTiny(whole);
    const second = await convertTiny(sharded);
    expect(second.manifest).toEqual(first.manifest);
  });

  it("is named, licensed, templated and capped as asked", async () => {
    const place = workplace();
    const { manifest } = await convertTiny(place, {
      modelId: "story-llama",
      chatTemplate: "{{ messages }}",
      licence: "MIT",
      contextLength: 48,
    });
    expect(manifest).toMatchObject({ id: "story-llama", chatTemplate: "{{ messages }}", licence: "MIT" });
    expect(manifest.architecture.contextLength).toBe(48);
  });

  it("takes special tokens, sampling, template and licence from wherever the source states them", async () => {
    const place = workplace({ bos_token_id: undefined, eos_token_id: 2 });
    write(
      place.tiny,
      "generation_config.json",
      JSON.stringify({ eos_token_id: [7, 2], pad_token_id: 0, temperature: 0.6, top_k: null, do_sample: true }),
    );
    const template = [
      { name: "tools", template: "no" },
      { name: "default", template: "yes" },
    ];
    const tokenizerConfig = { bos_token: "<s>", eos_token: { content: "w9" }, chat_template: template };
    write(place.tiny, "tokenizer_config.json", JSON.stringify(tokenizerConfig));
    write(place.tiny, "README.md", '---\nlanguage: en\nlicense: "apache-2.0"\n---\n# A model\n');
    const { manifest } = await convertTiny(place);
    expect(manifest.sampling).toEqual({ temperature: 0.6 });
    expect(manifest.tokens).toEqual({
      bos: { id: 1, text: "<s>" },
      eos: [
        { id: 7, text: "w7" },
        { id: 2, text: "</s>" },
        { id: 9, text: "w9" },
      ],
      pad: { id: 0, text: "<unk>" },
    });
    expect(manifest).toMatchObject({ chatTemplate: "yes", licence: "apache-2.0" });

    write(place.tiny, "chat_template.jinja", "from the file");
    rmSync(place.out, { recursive: true });
    expect((await convertTiny(place)).manifest.chatTemplate).toBe("from the file");
  });

  it("may take the place of an empty folder", async () => {
    const place = workplace();
    mkdirSync(place.out);
    expect((await convertTiny(place)).kind).toBe("created");
  });

  it("ignores buffers that old versions saved", async () => {
    const place = workplace();
    const buffer = { shape: [5], values: new Float32Array(5) };
    rewrite(place.tiny, { ...place.tiny.tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": buffer });
    await expect(convertTiny(place)).resolves.toMatchObject({ kind: "created" });
  });

  it("reports progress that ends complete", async () => {
    const place = workplace();
    const { file } = makeTinyAdapter(place.tiny);
    const last = new Map<string, ConvertProgress>();
    const onProgress = (progress: ConvertProgress) => {
      expect(progress.done).toBeGreaterThanOrEqual(last.get(progress.stage)?.done ?? 0);
      last.set(progress.stage, progress);
    };
    await convertTiny(place, { adapters: [{ file, name: "polite" }], onProgress });
    expect([...last.keys()]).toEqual(["Reading weights", "Writing weights", "Folding adapter polite"]);
    for (const { done, total } of last.values()) expect(done).toBe(total);
  });
});

describe("memory", () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;

  it.each(["none", "int8", "int4"] as const)("holds a few chunks, however large a tensor is (%s)", async (quantize) => {
    const parent = temporaryFolder();
    const source = join(parent, "large");
    // 51 MB each for the embedding table and the output head. A layer is held as a whole where it is calibrated.
    makeHollowFolder({ hidden_size: 256, vocab_size: 50_000 }, source);
    const reads = vi.spyOn(await handlePrototype(), "read");
    const before = process.memoryUsage().arrayBuffers;
    let peak = 0;
    const held = () => process.memoryUsage().arrayBuffers - before;
    const onProgress = () => {
      // Chunks that the collector has not come round to yet are not held.
      if (held() > 40e6) collectGarbage();
      peak = Math.max(peak, held());
    };
    await convert({ source, out: join(parent, "served"), quantize, adapters: [], onProgress });
    expect(reads.mock.calls.length).toBeGreaterThan(20);
    for (const [buffer] of reads.mock.calls) expect((buffer as Uint8Array).length).toBeLessThanOrEqual(8 << 20);
    expect(peak).toBeLessThan(80e6);
  });
});

describe("adapters are added to a converted backbone", () => {
  it("and those that were there stay", async () => {
    const place = workplace();
    const first = makeTinyAdapter(place.tiny, { seed: 3 });
    const second = makeTinyAdapter(place.tiny, {
      seed: 4,
      describe: {
        prompt_format: "chat",
        features: "unit_rms",
        licence: "MIT",
        description: "Writes in rhyme.",
        example_prompt: "Describe the sea.",
        recommended_strength: 0.8,
      },
    });
    await convertTiny(place, { adapters: [{ file: first.file, name: "first" }], quantize: "int8" });
    const before = snapshot(place.out);
    const result = await convertTiny(place, { adapters: [{ file: second.file, name: "second" }] });
    expect(result.kind).toBe("added");
    expect(result.adapters[0]).toMatchObject({
      name: "second",
      quantization: "int8",
      features: "unit_rms",
      chatTemplate: null,
      licence: "MIT",
      presentation: {
        description: "Writes in rhyme.",
        examplePrompt: "Describe the sea.",
        recommendedStrength: 0.8,
      },
    });
    const folder = await readModelFolder(place.out);
    await verifyModelFolder(folder, () => {});
    expect(folder.adapters.map((adapter) => adapter.manifest.name)).toEqual(["first", "second"]);
    expect(Object.entries(snapshot(place.out)).filter(([name]) => name in before)).toEqual(Object.entries(before));
  });

  it.each([
    ["the name is taken", { seed: 3 }, "first", "output_exists", /has an adapter named first already/],
    ["one is damaged", { seed: 5, bend: spoil }, "second", "not_finite_weights", /linear2.weight holds NaN/],
  ])("but not when %s", async (_, adapter, name, code, message) => {
    const place = workplace();
    const first = makeTinyAdapter(place.tiny, { seed: 3 });
    await convertTiny(place, { adapters: [{ file: first.file, name: "first" }] });
    const before = snapshot(place.out);
    const fine = makeTinyAdapter(place.tiny, { seed: 6 });
    const other = makeTinyAdapter(place.tiny, adapter);
    const adapters = [
      { file: fine.file, name: "fine" },
      { file: other.file, name },
    ];
    await expectRefusal(convertTiny(place, { adapters }), code, message);
    expect(snapshot(place.out)).toEqual(before);
  });

  it("but a bad one leaves no trace where there were none", async () => {
    const place = workplace();
    await convertTiny(place);
    const before = snapshot(place.out);
    const { file } = makeTinyAdapter(place.tiny, { bend: spoil });
    const work = convertTiny(place, { adapters: [{ file, name: "bad" }] });
    await expectRefusal(work, "not_finite_weights", /linear2.weight holds NaN/);
    expect(snapshot(place.out)).toEqual(before);
  });

  it("but not to another backbone", async () => {
    const place = workplace();
    await convertTiny(place);
    const before = snapshot(place.out);
    const other = makeTinyFolder({}, { seed: 77 });
    const { file } = makeTinyAdapter(other);
    const adapters = [{ file, name: "first" }];
    await expectRefusal(
      convertTiny({ tiny: other, out: place.out }, { adapters }),
      "output_exists",
      /another backbone/,
    );
    expect(snapshot(place.out)).toEqual(before);
  });
});

describe("convert refuses", () => {
  const cases: Record<string, readonly [(place: { tiny: TinyFolder; out: string }) => void, string, RegExp]> = {
    "a folder without config.json": [
      ({ tiny }) => unlinkSync(join(tiny.path, "config.json")),
      "file_missing",
      /config.json/,
    ],
    "a config.json that is no JSON": [
      ({ tiny }) => write(tiny, "config.json", "{"),
      "invalid_config",
      /not valid JSON/,
    ],
    "a folder without a tokenizer": [
      ({ tiny }) => unlinkSync(join(tiny.path, "tokenizer.json")),
      "file_missing",
      /tokenizer/,
    ],
    "a tokenizer without a vocabulary": [
      ({ tiny }) => write(tiny, "tokenizer.json", '{"model":{}}'),
      "unsupported_tokenizer",
      /vocab/,
    ],
    "a folder without weights": [
      ({ tiny }) => unlinkSync(join(tiny.path, "model.safetensors")),
      "file_missing",
      /has neither model.safetensors nor an index/,
    ],
    "weights that are cut off": [
      ({ tiny }) => truncateSync(join(tiny.path, "model.safetensors"), 30_000),
      "corrupt_safetensors",
      /tensor \S+ ends at byte \d+, but the file is cut off after 30000/,
    ],
    "a missing tensor": [
      ({ tiny }) => {
        const { "model.norm.weight": _, ...rest } = tiny.tensors;
        rewrite(tiny, rest);
      },
      "missing_tensor",
      /model.norm.weight \[21\] is missing from model.safetensors/,
    ],
    "a misshapen tensor": [
      ({ tiny }) => {
        const wrong = { shape: [21, 20], values: new Float32Array(420) };
        rewrite(tiny, { ...tiny.tensors, "model.layers.1.self_attn.k_proj.weight": wrong });
      },
      "misshapen_tensor",
      /layers.1.self_attn.k_proj.weight has shape \[21, 20\], expected \[20, 21\]/,
    ],
    "a tensor that the decoder has no place for": [
      ({ tiny }) => {
        const norm = { shape: [10], values: new Float32Array(10) };
        rewrite(tiny, { ...tiny.tensors, "model.layers.0.self_attn.q_norm.weight": norm });
      },
      "unsupported_architecture",
      /q_norm.weight has no place in a LLaMA decoder/,
    ],
    "weights that are no numbers": [
      ({ tiny }) => {
        tiny.tensors["model.layers.2.mlp.up_proj.weight"]?.values.fill(Number.NaN, 100, 101);
        rewrite(tiny, tiny.tensors);
      },
      "not_finite_weights",
      /layers.2.mlp.up_proj.weight holds NaN at element 100/,
    ],
    "a first token beyond the vocabulary": [
      ({ tiny }) => write(tiny, "generation_config.json", '{"bos_token_id":53}'),
      "invalid_config",
      /beginning-of-sequence token 53 .*is not among/,
    ],
    "an output that is a file": [({ out }) => writeFileSync(out, "mine"), "output_exists", /is there already/],
    "an output folder with something in it": [
      ({ out }) => {
        mkdirSync(out);
        writeFileSync(join(out, "thesis.txt"), "mine");
      },
      "output_exists",
      /is there already and is not a converted model.*not touched/,
    ],
  };

  it.each(Object.entries(cases))("%s", async (_, [spoilPlace, code, message]) => {
    const place = workplace();
    spoilPlace(place);
    const before = snapshot(place.parent);
    for (const quantize of quantizations) {
      await expectRefusal(convertTiny(place, { quantize }), code, message);
      expect(snapshot(place.parent)).toEqual(before);
    }
  });

  it("a model that nothing can end", async () => {
    const place = workplace({ eos_token_id: null });
    await expectRefusal(convertTiny(place), "invalid_config", /names an end-of-sequence token/);
  });

  it("to convert the same model twice", async () => {
    const place = workplace();
    await convertTiny(place);
    const before = snapshot(place.parent);
    await expectRefusal(convertTiny(place), "output_exists", /holds a converted model already/);
    expect(snapshot(place.parent)).toEqual(before);
  });

  it.each([
    ["a model id with two slashes", { modelId: "me/my/llama" }, /model id "me\/my\/llama"/],
    ["a context longer than the model's", { contextLength: 65 }, /knows 1 to 64 positions/],
    ["a context of nothing", { contextLength: 0 }, /context length of 0/],
  ] as const)("%s", async (_, options, message) => {
    await expectRefusal(convertTiny(workplace(), options), "invalid_option", message);
  });

  it("adapter names that cannot be served, or are the same", async () => {
    const place = workplace();
    const { file } = makeTinyAdapter(place.tiny);
    const named = (...names: string[]) => convertTiny(place, { adapters: names.map((name) => ({ file, name })) });
    await expectRefusal(named("a:b"), "invalid_option", /adapter name "a:b"/);
    await expectRefusal(named("../up"), "invalid_option", /adapter name/);
    await expectRefusal(named("same", "same"), "invalid_option", /Two adapters are to be named same/);
  });
});

describe("an adapter is refused", () => {
  it.each([
    [
      "of another backbone",
      { describe: { backbone_sha256: "0".repeat(64) } },
      "adapter_mismatch",
      /000000000000, this one is/,
    ],
    [
      "of another size",
      { describe: { hidden_size: 22 } },
      "adapter_mismatch",
      /3 layers of size 22; this backbone has 3 of 21/,
    ],
    ["of another format", { describe: { format: "lora" } }, "invalid_adapter", /does not describe an adapter/],
    ["of an unknown version", { describe: { version: 2 } }, "invalid_adapter", /does not describe an adapter/],
    ["too strong", { describe: { recommended_strength: 9 } }, "invalid_adapter", /recommended_strength/],
    ["described at length", { describe: { description: "x".repeat(301) } }, "invalid_adapter", /description/],
    ["of unknown features", { describe: { features: "loud" } }, "invalid_adapter", /features/],
    ["without its rank", { kind: "lite", describe: { rank: null } }, "invalid_adapter", /rank/],
    [
      "without a tensor",
      { bend: (tensors: object) => Reflect.deleteProperty(tensors, "model.prompt") },
      "missing_tensor",
      /model.prompt \[21\] is missing/,
    ],
    [
      "with a misshapen tensor",
      { kind: "lite", describe: { rank: 2 } },
      "misshapen_tensor",
      /lora_A has shape \[3, 21\], expected \[2, 21\]/,
    ],
    ["with weights that are no numbers", { bend: spoil }, "not_finite_weights", /linear2.weight holds NaN/],
  ] as const)("%s", async (_, adapter, code, message) => {
    const place = workplace();
    const { file } = makeTinyAdapter(place.tiny, adapter);
    const before = snapshot(place.parent);
    await expectRefusal(convertTiny(place, { adapters: [{ file, name: "bad" }] }), code, message);
    expect(snapshot(place.parent)).toEqual(before);
  });

  it("without its description, or under another ending", async () => {
    const place = workplace();
    const { file } = makeTinyAdapter(place.tiny);
    const renamed = file.replace(".safetensors", ".bin");
    cpSync(file, renamed);
    await expectRefusal(
      convertTiny(place, { adapters: [{ file: renamed, name: "bad" }] }),
      "invalid_adapter",
      /\.json beside/,
    );
    unlinkSync(file.replace(".safetensors", ".json"));
    await expectRefusal(convertTiny(place, { adapters: [{ file, name: "bad" }] }), "file_missing", /\.json is missing/);
  });
});

describe("nothing is left behind", () => {
  it("and what a killed run left is no obstacle", async () => {
    const place = workplace();
    const partial = `${place.out}.partial-${process.pid}`;
    mkdirSync(partial);
    writeFileSync(join(partial, "decoder.onnx"), "half");
    await convertTiny(place);
    expect(readdirSync(place.parent).sort()).toEqual(["served", "tiny-llama"]);
  });

  it.each([
    ["ENOSPC", "disk_full", /The disk is full/],
    ["EIO", "write_failed", /could not be written \(EIO\)/],
  ])("when writing fails with %s", async (errno, code, message) => {
    const place = workplace();
    const { file } = makeTinyAdapter(place.tiny);
    const before = snapshot(place.parent);
    // The first write of the graph, some write of the weights, and one of the adapter's.
    for (const failing of [1, 20, 60]) {
      await failWrite(failing, errno);
      await expectRefusal(convertTiny(place, { adapters: [{ file, name: "polite" }] }), code, message);
      vi.restoreAllMocks();
      expect(snapshot(place.parent)).toEqual(before);
    }
  });

  it("when the conversion is called off", async () => {
    const place = workplace();
    const before = snapshot(place.parent);
    const controller = new AbortController();
    const onProgress = ({ stage }: ConvertProgress) => {
      if (stage === "Writing weights") controller.abort(new Error("enough"));
    };
    await expect(convertTiny(place, { onProgress, signal: controller.signal })).rejects.toThrow("enough");
    expect(snapshot(place.parent)).toEqual(before);
  });

  it("and nothing is overwritten when something appears at the output meanwhile", async () => {
    const place = workplace();
    const onProgress = ({ stage }: ConvertProgress) => {
      if (stage !== "Writing weights") return;
      mkdirSync(place.out, { recursive: true });
      writeFileSync(join(place.out, "theirs.txt"), "theirs");
    };
    await expectRefusal(convertTiny(place, { onProgress }), "output_exists", /appeared meanwhile/);
    expect(readdirSync(place.out)).toEqual(["theirs.txt"]);
    expect(readdirSync(place.parent).sort()).toEqual(["served", "tiny-llama"]);
  });
});

type HandleMethod = (...args: unknown[]) => Promise<unknown>;

/** What every open file shares. */
async function handlePrototype(): Promise<Record<"read" | "write", HandleMethod>> {
  const handle = await open(new URL(import.meta.url).pathname, "r");
  await handle.close();
  return Object.getPrototypeOf(handle);
}

/** Makes the n-th write to any file fail. */
async function failWrite(n: number, errno: string): Promise<void> {
  const prototype = await handlePrototype();
  const { write: original } = prototype;
  let count = 0;
  vi.spyOn(prototype, "write").mockImplementation(function (this: unknown, ...args) {
    count++;
    if (count === n) return Promise.reject(Object.assign(new Error(`${errno}: no`), { code: errno }));
    return original.apply(this, args);
  });
}

async function expectRefusal(work: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ToastError)) throw new Error("expected a ToastError", { cause: error });
  expect(error.message).toMatch(message);
  expect(error.code).toBe(code);
  expect(error.message).toMatch(/\.$/);
}

function weightBytes({ files }: BackboneManifest): number {
  return files.weights.reduce((sum, { bytes }) => sum + bytes, 0);
}

function spoil(tensors: Record<string, { values: Float32Array }>): void {
  tensors["model.decoders.0.linear2.weight"]?.values.fill(Number.NaN, 5, 6);
}

function write(tiny: TinyFolder, name: string, text: string): void {
  writeFileSync(join(tiny.path, name), text);
}

function rewrite(tiny: TinyFolder, tensors: TinyFolder["tensors"]): void {
  writeSafetensors(join(tiny.path, "model.safetensors"), tensors);
}

/** Spreads the weights over two files. */
function shard(tiny: TinyFolder): void {
  unlinkSync(join(tiny.path, "model.safetensors"));
  const names = Object.keys(tiny.tensors).reverse();
  const half = Math.ceil(names.length / 2);
  const map: Record<string, string> = {};
  for (const [file, part] of [
    ["model-00001-of-00002.safetensors", names.slice(0, half)],
    ["model-00002-of-00002.safetensors", names.slice(half)],
  ] as const) {
    writeSafetensors(
      join(tiny.path, file),
      Object.fromEntries(part.map((name) => [name, tiny.tensors[name]])) as never,
    );
    for (const name of part) map[name] = file;
  }
  write(tiny, "model.safetensors.index.json", JSON.stringify({ weight_map: map }));
}

/** Every file under a folder with a hash of its content. */
function snapshot(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true });
  return Object.fromEntries(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const content = entry.isFile() ? createHash("sha256").update(readFileSync(path)).digest("hex") : "folder";
      return [path, content];
    }),
  );
}
