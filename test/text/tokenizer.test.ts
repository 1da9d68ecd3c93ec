import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { Tokenizer } from "../../src/text/tokenizer.js";
import { byteLevelStyle, llamaStyle, metaspaceStyle, tokenizerOf } from "./small-tokenizers.js";
import { TestRandom } from "./test-random.js";

describe("a LLaMA-style tokenizer", () => {
  test("spells unknown characters in bytes and gives every text back", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    const ids = tokenizer.encode("Hello ñ", { addSpecialTokens: true });
    expect(ids.map((id) => tokenizer.tokenText(id))).toEqual(["<s>", "▁H", "e", "ll", "o", "▁", "<0xC3>", "<0xB1>"]);
    for (const text of ["", "Hello", " Hello", "  ", "\n\n", "ñ😀日本", "\ufeffx\ufeff", "a\u0000b", "don 't . ! ?"]) {
      const encoded = tokenizer.encode(text, { addSpecialTokens: false });
      expect(tokenizer.decode(encoded, { skipSpecialTokens: true })).toBe(text);
    }
  });

  test("adds BOS when asked, and not otherwise", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    expect(tokenizer.encode("", { addSpecialTokens: true })).toEqual([1]);
    expect(tokenizer.encode("", { addSpecialTokens: false })).toEqual([]);
  });

  test("reads special tokens that stand in the text, with words on both sides as on their own", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    const pieces = tokenizer.encode("<s>Hello</s>he", { addSpecialTokens: false }).map((id) => tokenizer.tokenText(id));
    expect(pieces).toEqual(["<s>", "▁H", "e", "ll", "o", "</s>", "▁he"]);
  });

  test("shows special tokens or skips them", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    const ids = tokenizer.encode("Hello", { addSpecialTokens: true });
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("Hello");
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe("<s> Hello");
    expect(tokenizer.isSpecial(1)).toBe(true);
    expect(tokenizer.isSpecial(3)).toBe(false);
  });

  test("takes a byte that is written out for text, not for a byte", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    const ids = tokenizer.encode("<0x0A>", { addSpecialTokens: false });
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("<0x0A>");
  });

  test("replaces flawed bytes where a decoder of the whole would", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    const random = new TestRandom(5);
    // Lead and continuation bytes of every length, surrogates, overlong forms, bytes that never occur, and ASCII.
    const bytes = [
      0x41, 0x80, 0xbf, 0xa0, 0x9f, 0xc3, 0xc0, 0xe0, 0xe4, 0xed, 0xef, 0xbb, 0xf0, 0x90, 0x8f, 0xf4, 0xff,
    ];
    for (let round = 0; round < 3000; round += 1) {
      const text = Array.from({ length: random.below(12) }, () => bytes[random.below(bytes.length)] ?? 0);
      const ids = text.map((byte) => byte + 3);
      expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(Buffer.from(text).toString("utf8"));
    }
  });

  test("knows its size, and nothing beyond it", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    expect(tokenizer.tokenText(tokenizer.vocabSize - 1)).toBeTypeOf("string");
    expect(tokenizer.tokenText(tokenizer.vocabSize)).toBeUndefined();
    expect(tokenizer.tokenBytes(tokenizer.vocabSize, "later")).toBeUndefined();
    expect(tokenizer.decode([tokenizer.vocabSize + 5], { skipSpecialTokens: true })).toBe("");
  });

  test("gives the bytes of a token", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    const [hello] = tokenizer.encode("Hell", { addSpecialTokens: false });
    expect(tokenizer.tokenBytes(hello ?? -1, "later")).toEqual(new TextEncoder().encode(" H"));
    expect(tokenizer.tokenBytes(hello ?? -1, "first")).toEqual(new TextEncoder().encode("H"));
    expect(tokenizer.tokenBytes(3 + 0xf0, "later")).toEqual(Uint8Array.of(0xf0));
    expect(tokenizer.tokenBytes(3 + 0x20, "first")).toEqual(new Uint8Array());
  });
});

test("a metaspace decoder drops the marks of the first piece", async () => {
  const tokenizer = await tokenizerOf(metaspaceStyle);
  const ids = tokenizer.encode("Hello  Hello", { addSpecialTokens: false });
  expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("Hello  Hello");
});

test("a byte-level tokenizer gives every text back", async () => {
  const tokenizer = await tokenizerOf(byteLevelStyle);
  for (const text of ["Hello", "  all ", "ñ😀日本\r\n", "\ufeffx", "<|eot_id|>"]) {
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(text);
  }
  expect(tokenizer.encode("a<|eot_id|>", { addSpecialTokens: false })).toEqual([0x61, 259]);
});

describe("text is parted as the Python library parts it", () => {
  /** A byte-level tokenizer that joins a space or an apostrophe with the first byte of what the characters are. */
  const joining = (preTokenizer: object) => {
    const firstBytes = ["Â", "â", "ï", "Ù", "Å"];
    const pairs = [...firstBytes.map((byte) => ["Ġ", byte]), ["'", "Å"]];
    const vocab = { ...byteLevelStyle.model.vocab };
    const joined = pairs.map((pair, place) => [pair.join(""), 258 + place]);
    return tokenizerOf({
      ...byteLevelStyle,
      added_tokens: [],
      pre_tokenizer: preTokenizer,
      model: { ...byteLevelStyle.model, vocab: { ...vocab, ...Object.fromEntries(joined) }, merges: pairs },
    });
  };
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const digits = (individual: boolean) => ({
    type: "Sequence",
    pretokenizers: [{ type: "Digits", individual_digits: individual }, bytes],
  });
  const folded = (regex: string) => ({
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false },
      { ...bytes, use_regex: false },
    ],
  });

  // Pieces by tokenizers 0.23.3.
  test.each([
    ["digits are all numbers of Unicode", digits(true), " ½ ① ١", "Ġ Â ½ Ġ â ĳ ł Ġ Ù ¡"],
    ["digits in runs are, too", digits(false), "½½ ½", "Â ½ Â ½ Ġ Â ½"],
    ["words have Unicode's blanks: U+0085 is one", bytes, "a \u0085b", "a Ġ Â ħ b"],
    ["words have Unicode's blanks: U+FEFF is none", bytes, "a \ufeffb", "a Ġï » ¿ b"],
    ["a space comes in front where it is wanted", { ...bytes, add_prefix_space: true }, "½", "ĠÂ ½"],
    ["and where none is yet", { ...bytes, add_prefix_space: true }, " ½", "ĠÂ ½"],
    ["without regard to case ſ is an s", folded("(?i:'s|'t)|.+"), "'ſx", "'Å ¿ x"],
    ["in a class of letters, too", folded("(?i:'[st-])|."), "'ſ", "'Å ¿"],
    ["with regard to case it is none", folded("'s|."), "'ſ", "' Å ¿"],
  ])("%s", async (_, preTokenizer, text, pieces) => {
    const tokenizer = await joining(preTokenizer);
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    expect(ids.map((id) => tokenizer.tokenText(id)).join(" ")).toBe(pieces);
  });
});

describe("the tiny models' tokenizer", () => {
  test("agrees with the Python library on ids and text", async () => {
    const tokenizer = await Tokenizer.fromFile(tinyFile("tokenizer/tokenizer.json"));
    const rows = JSON.parse(await readFile(tinyFile("tokenizer_oracle.json"), "utf8")) as OracleRow[];
    expect(rows.length).toBeGreaterThan(20);
    for (const row of rows) {
      expect({ text: row.text, ids: tokenizer.encode(row.text, { addSpecialTokens: false }) }).toEqual({
        text: row.text,
        ids: row.ids,
      });
      expect(tokenizer.decode(row.ids, { skipSpecialTokens: false })).toBe(row.decoded);
    }
  });
});

/** One string as the Python tokenizers library encodes it (without BOS) and decodes it (special tokens shown). */
interface OracleRow {
  readonly text: string;
  readonly ids: number[];
  readonly decoded: string;
}

function tinyFile(name: string): string {
  return fileURLToPath(new URL(`../tiny/${name}`, import.meta.url));
}

describe("loading a tokenizer", () => {
  test("refuses a missing file", async () => {
    await expect(Tokenizer.fromFile("/nowhere/tokenizer.json")).rejects.toMatchObject({
      code: "file_missing",
      message: expect.stringContaining("/nowhere/tokenizer.json"),
    });
  });

  const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
  test.each([
    ["another model", { ...llamaStyle, model: { ...llamaStyle.model, type: "Unigram" } }],
    ["no model", {}],
    ["a normalizer that would be done otherwise", { ...llamaStyle, normalizer: { type: "Precompiled" } }],
    ["an unknown pre-tokenizer", { ...llamaStyle, pre_tokenizer: { type: "UnicodeScripts" } }],
    ["a split by an unknown behavior", { ...llamaStyle, pre_tokenizer: { type: "Punctuation", behavior: "Loose" } }],
    ["an unknown post-processor", { ...llamaStyle, post_processor: { type: "Other" } }],
    ["merges dropped by chance", { ...llamaStyle, model: { ...llamaStyle.model, dropout: 0.1 } }],
    ["pieces with an affix", { ...llamaStyle, model: { ...llamaStyle.model, end_of_word_suffix: "</w>" } }],
    [
      "an added token whose id is not the one that Python's library gives it",
      { ...llamaStyle, added_tokens: [{ id: 9_999, content: "<x>", special: true }] },
    ],
    ["no decoder", { ...llamaStyle, decoder: null }],
    ["a decoder of another kind", { ...llamaStyle, decoder: { type: "WordPiece" } }],
    ["a strip of each piece", { ...llamaStyle, decoder: { type: "Sequence", decoders: [strip, { type: "Fuse" }] } }],
    [
      "a strip at the end",
      { ...llamaStyle, decoder: { type: "Sequence", decoders: [{ type: "Fuse" }, { ...strip, stop: 1 }] } },
    ],
  ])("refuses %s", async (_, specification) => {
    await expect(tokenizerOf(specification)).rejects.toMatchObject({ code: "unsupported_tokenizer" });
  });
});
