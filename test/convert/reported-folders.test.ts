import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type ConvertOptions, type ConvertResult, convert } from "../../src/convert/convert.js";
import { ToastError } from "../../src/errors.js";
import { readModelFolder } from "../../src/model/model-folder.js";
import { writeSafetensors } from "./safetensors-file.js";
import { makeTinyAdapter, makeTinyFolder, type Tensors, type TinyFolder, temporaryFolder } from "./tiny-folder.js";

/** Folders as users have them: written by other tools, or by older ones. */
function place(overrides: Readonly<Record<string, unknown>> = {}): { tiny: TinyFolder; out: string } {
  const parent = temporaryFolder();
  return { tiny: makeTinyFolder(overrides, { path: join(parent, "tiny") }), out: join(parent, "out") };
}

function converted({ tiny, out }: { tiny: TinyFolder; out: string }, options: Partial<ConvertOptions> = {}) {
  return convert({ source: tiny.path, out, quantize: "none", adapters: [], ...options });
}

const weightsOf = ({ manifest }: ConvertResult) => manifest.files.weights.map(({ sha256 }) => sha256);

async function refusalOf(run: Promise<unknown>): Promise<ToastError> {
  const error = await run.then(
    () => null,
    (cause: unknown) => cause,
  );
  if (error instanceof ToastError) return error;
  throw new Error("it was not refused", { cause: error });
}

function write({ path }: TinyFolder, name: string, value: unknown): void {
  writeFileSync(join(path, name), typeof value === "string" ? value : JSON.stringify(value));
}

function changeConfig({ path }: TinyFolder, change: object): void {
  const file = join(path, "config.json");
  writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(file, "utf8")) as object), ...change }));
}

describe("a head that config.json does not speak of", () => {
  it("is used where it differs from the table, with a word", async () => {
    const own = place();
    const plain = await converted(own);
    const said = place();
    changeConfig(said.tiny, { tie_word_embeddings: true });
    const result = await converted(said);
    expect(weightsOf(result)).toEqual(weightsOf(plain));
    expect(result.warnings.join()).toContain("lm_head.weight that differs");
  });

  it("is the table where it does not", async () => {
    const tied = place({ tie_word_embeddings: true });
    const plain = await converted(tied);
    const twice = place({ tie_word_embeddings: true });
    const { "model.embed_tokens.weight": table } = twice.tiny.tensors;
    if (table === undefined) throw new Error("there is a table");
    writeSafetensors(
      join(twice.tiny.path, "model.safetensors"),
      { ...twice.tiny.tensors, "lm_head.weight": table },
      "F32",
    );
    const result = await converted(twice);
    expect(weightsOf(result)).toEqual(weightsOf(plain));
    expect(result.warnings).toEqual([]);
  });
});

describe("weights under other names", () => {
  const renamed = ({ tensors }: TinyFolder, name: (plain: string) => string): Tensors =>
    Object.fromEntries(Object.entries(tensors).map(([plain, tensor]) => [name(plain), tensor]));

  it.each<[string, (name: string) => string]>([
    ["without model.", (name) => name.replace(/^model\./, "")],
    ["of a compiled model", (name) => `_orig_mod.${name}`],
    ["of a distributed one", (name) => `module.${name}`],
    ["of a part of a larger one", (name) => `language_model.${name}`],
    ["of PEFT's model", (name) => `base_model.model.${name}`],
  ])("%s are found", async (_, name) => {
    const plain = await converted(place());
    const other = place();
    writeSafetensors(join(other.tiny.path, "model.safetensors"), renamed(other.tiny, name), "F32");
    const result = await converted(other);
    expect(weightsOf(result)).toEqual(weightsOf(plain));
    // Adapters are folded with what the folder keeps, found under the plain names again.
    expect((await readModelFolder(other.out)).manifest.files.valueProjections).toEqual(
      plain.manifest.files.valueProjections,
    );
  });

  it("of several kinds are refused, and said", async () => {
    const mixed = place();
    const tensors = renamed(mixed.tiny, (name) => (name.includes("layers.0") ? `module.${name}` : name));
    writeSafetensors(join(mixed.tiny.path, "model.safetensors"), tensors, "F32");
    const error = await refusalOf(converted(mixed));
    expect(error.code).toBe("missing_tensor");
    expect(error.message).toMatch(/is missing from model\.safetensors\. It has \d+, \S+ say\./);
  });
});

describe("folders without weights that can be read say what they have and what to do:", () => {
  it.each<[string, (folder: string) => void, RegExp]>([
    [
      "pickles",
      (folder) => renameSync(join(folder, "model.safetensors"), join(folder, "pytorch_model.bin")),
      /pickles \(pytorch_model\.bin\).*save_pretrained/,
    ],
    [
      "some of the shards",
      (folder) => renameSync(join(folder, "model.safetensors"), join(folder, "model-00001-of-00002.safetensors")),
      /It has model-00001-of-00002\.safetensors.*missing/,
    ],
    [
      "an adapter of PEFT",
      (folder) => {
        rmSync(join(folder, "model.safetensors"));
        writeFileSync(join(folder, "adapter_config.json"), "{}");
      },
      /PEFT adapter.*merge/,
    ],
    [
      "nothing of the kind",
      (folder) => rmSync(join(folder, "model.safetensors")),
      /It has config\.json, tokenizer\.json\./,
    ],
  ])("%s", async (_, change, sentence) => {
    const lacking = place();
    change(lacking.tiny.path);
    const error = await refusalOf(converted(lacking));
    expect([error.code, error.message]).toEqual(["file_missing", expect.stringMatching(sentence)]);
  });

  it("a tokenizer of another kind", async () => {
    const lacking = place();
    renameSync(join(lacking.tiny.path, "tokenizer.json"), join(lacking.tiny.path, "tokenizer.model"));
    const error = await refusalOf(converted(lacking));
    expect([error.code, error.message]).toEqual([
      "file_missing",
      expect.stringMatching(/tokenizer\.json is missing; tokenizer\.model alone cannot be read.*AutoTokenizer/),
    ]);
  });
});

it("all shards without their index are the model", async () => {
  const plain = await converted(place());
  const sharded = place();
  const entries = Object.entries(sharded.tiny.tensors);
  rmSync(join(sharded.tiny.path, "model.safetensors"));
  for (const part of [0, 1]) {
    const some = Object.fromEntries(entries.filter((_, at) => at % 2 === part));
    writeSafetensors(join(sharded.tiny.path, `model-0000${part + 1}-of-00002.safetensors`), some, "F32");
  }
  expect(weightsOf(await converted(sharded))).toEqual(weightsOf(plain));
});

describe("special tokens that are none", () => {
  it("are left out: one to pad with", async () => {
    const padded = place();
    write(padded.tiny, "generation_config.json", { eos_token_id: 2, pad_token_id: 53 });
    const { manifest, warnings } = await converted(padded);
    expect([manifest.tokens.pad, warnings]).toEqual([null, []]);
  });

  it("are left out with a word: one of several to end with", async () => {
    const several = place();
    write(several.tiny, "generation_config.json", { eos_token_id: [2, 99] });
    const { manifest, warnings } = await converted(several);
    expect(manifest.tokens.eos.map(({ id }) => id)).toEqual([2]);
    expect(warnings.join()).toContain("The end-of-sequence token 99 is not among");
  });

  it("are refused where there is no other", async () => {
    const none = place({ eos_token_id: 99 });
    expect((await refusalOf(converted(none))).message).toContain("name no end-of-sequence token that there is: 99");
  });
});

it("recommendations that no request may ask for are left out with a word", async () => {
  const odd = place();
  write(odd.tiny, "generation_config.json", { temperature: 0.7, top_p: 1.5, repetition_penalty: 0, top_k: "many" });
  const { manifest, warnings } = await converted(odd);
  expect(manifest.sampling).toEqual({ temperature: 0.7 });
  expect(warnings).toHaveLength(3);
  expect(warnings[0]).toContain("recommends top_p 1.5");
});

it.each(["LLaMAForCausalLM", "LlamaModel"])("the class name %s is read", async (name) => {
  const old = place();
  changeConfig(old.tiny, { architectures: [name] });
  expect((await converted(old)).kind).toBe("created");
});

describe("the licence of a model card", () => {
  it.each([
    ["license:\n- apache-2.0\nlanguage: en", "apache-2.0"],
    ["license:\n  - mit\n  - 'apache-2.0'", "mit, apache-2.0"],
    ["license: [mit, cc-by-4.0]", "mit, cc-by-4.0"],
    ["license: llama3.1 # as of today", "llama3.1"],
    ['license: "mit"', "mit"],
    ["license: other\nlicense_name: tiny-licence", "tiny-licence"],
    ["language: en", null],
    ["license:\nlanguage: en", null],
  ])("%j", async (front, licence) => {
    const card = place();
    write(card.tiny, "README.md", `---\n${front}\n---\n# A model\n`);
    expect((await converted(card)).manifest.licence).toBe(licence);
  });
});

describe("a chat template is tried", () => {
  it("and what it cannot do is said", async () => {
    const strict = place();
    const template =
      "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No system, please.') }}{% endif %}{{ m.content }}{% endfor %}";
    write(strict.tiny, "chat_template.jinja", template);
    const { warnings } = await converted(strict);
    expect(warnings).toEqual(["The chat template does not write a system message: No system, please."]);
  });

  it("and what cannot be read is said", async () => {
    const broken = place();
    write(broken.tiny, "chat_template.jinja", "{% for m in messages %}{{ m.content }}");
    const { warnings } = await converted(broken);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/The chat template cannot be read: .*--chat-template/);
  });
});

it("a model id may have its organisation in front, an adapter's name may not", async () => {
  const named = place();
  expect((await converted(named, { modelId: "org/name" })).manifest.id).toBe("org/name");
  const { file } = makeTinyAdapter(named.tiny);
  const error = await refusalOf(converted(place(), { adapters: [{ file, name: "a/b" }] }));
  expect(error.code).toBe("invalid_option");
  for (const modelId of ["a/b/c", "/a", "a/", "a b"]) {
    expect((await refusalOf(converted(place(), { modelId }))).code).toBe("invalid_option");
  }
});
