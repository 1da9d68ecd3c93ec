import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Tokenizer } from "../../src/text/tokenizer.js";

const specials = ["<unk>", "<s>", "</s>"];
const bytePieces = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
const template = {
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 0 } }],
  special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
};

function vocabulary(pieces: readonly string[]): Record<string, number> {
  return Object.fromEntries(pieces.map((piece, id) => [piece, id]));
}

function added(pieces: readonly string[], first = 0): object[] {
  return pieces.map((content, i) => ({
    id: first + i,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
}

const learned = [
  "▁",
  "▁▁",
  "H",
  "e",
  "l",
  "o",
  "é",
  "😀",
  "日",
  "he",
  "▁H",
  "▁he",
  "ll",
  "▁Hell",
  "\n",
  "\ufffd",
  "\ufeff",
];
const merges = [
  ["▁", "▁"],
  ["h", "e"],
  ["▁", "H"],
  ["▁", "he"],
  ["l", "l"],
];

/** LLaMA 1 and 2, TinyLlama, Vicuna: byte fallback, a space put in front and stripped again. */
export const llamaStyle = {
  normalizer: {
    type: "Sequence",
    normalizers: [
      { type: "Prepend", prepend: "▁" },
      { type: "Replace", pattern: { String: " " }, content: "▁" },
    ],
  },
  pre_tokenizer: null,
  post_processor: template,
  decoder: {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "▁" }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  },
  added_tokens: added(specials),
  model: {
    type: "BPE",
    unk_token: "<unk>",
    fuse_unk: true,
    byte_fallback: true,
    vocab: vocabulary([...specials, ...bytePieces, "h", ...learned]),
    merges,
  },
};

/** A Metaspace decoder without byte fallback. */
export const metaspaceStyle = {
  ...llamaStyle,
  normalizer: null,
  pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: false },
  decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: false },
};

/** The characters that byte-level BPE spells bytes in, in the order of the bytes. */
const byteCharacters = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const visible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(visible ? byte : next++);
  });
})();

/** LLaMA 3 and SmolLM2. */
export const byteLevelStyle = {
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: null,
  decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
  added_tokens: added(["<|begin_of_text|>", "<|eot_id|>"], 258),
  model: {
    type: "BPE",
    byte_fallback: false,
    vocab: vocabulary([...byteCharacters, "ll", "ðŁ"]),
    merges: [
      ["l", "l"],
      ["ð", "Ł"],
    ],
  },
};

/** Load a specification by way of a file, as a served folder's is. */
export async function tokenizerOf(specification: object): Promise<Tokenizer> {
  const folder = await mkdtemp(join(tmpdir(), "toast-tokenizer-"));
  try {
    const path = join(folder, "tokenizer.json");
    await writeFile(path, JSON.stringify({ version: "1.0", ...specification }));
    return await Tokenizer.fromFile(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}
