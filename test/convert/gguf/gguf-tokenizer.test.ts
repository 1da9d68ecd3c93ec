import { beforeAll, describe, expect, test } from "vitest";
import { tokenizerFromGguf } from "../../../src/convert/gguf/gguf-tokenizer.js";
import { IncrementalDetokenizer } from "../../../src/text/incremental-detokenizer.js";
import type { Tokenizer } from "../../../src/text/tokenizer.js";
import { tokenizerOf } from "../../text/small-tokenizers.js";
import { changed, references, texts, withEntry } from "./tokenizer-reference.js";

function specificationOf(metadata: ReadonlyMap<string, unknown>) {
  return JSON.parse(new TextDecoder().decode(tokenizerFromGguf(metadata, "model.gguf")));
}

function load(metadata: ReadonlyMap<string, unknown>): Promise<Tokenizer> {
  return tokenizerOf(specificationOf(metadata));
}

const plain = { addSpecialTokens: false };
const withSpecials = { addSpecialTokens: true };

describe.each(Object.entries(references))("a tokenizer made from a GGUF file, %s", (_, reference) => {
  let tokenizer: Tokenizer;

  beforeAll(async () => {
    tokenizer = await load(reference.metadata);
  });

  test("gives the reference's ids of every text", () => {
    expect(texts.length).toBeGreaterThan(500);
    expect(reference.ids.length).toBe(texts.length);
    const got = texts.map((text) => ({ text, ids: tokenizer.encode(text, plain) }));
    expect(got).toEqual(texts.map((text, place) => ({ text, ids: reference.ids[place] })));
  });

  test("gives the reference's text of every list of ids, whole and streamed", () => {
    for (const [place, ids] of reference.ids.entries()) {
      const text = reference.decoded[place];
      expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(text);
      const stream = new IncrementalDetokenizer(tokenizer, []);
      expect([...ids.map((id) => stream.push(id)), stream.flush()].join("")).toBe(text);
    }
  });

  test("keeps every token's id and text", () => {
    const tokens = reference.metadata.get("tokenizer.ggml.tokens");
    const kept = Array.from({ length: tokenizer.vocabSize }, (_token, id) => tokenizer.tokenText(id));
    expect(kept).toEqual(tokens);
  });
});

describe("tokens around a text", () => {
  const texted = async (metadata: ReadonlyMap<string, unknown>, text: string) => {
    const tokenizer = await load(metadata);
    return tokenizer.encode(text, withSpecials).map((id) => tokenizer.tokenText(id));
  };

  test.each([
    ["SentencePiece has BOS where the file does not say", "sentencepiece", {}, ["<s>", "▁I"]],
    ["BOS can be left out", "sentencepiece", { add_bos_token: false }, ["▁I"]],
    ["EOS can be wanted", "sentencepiece", { add_bos_token: false, add_eos_token: true }, ["▁I", "</s>"]],
    ["both can be wanted", "sentencepiece", { add_bos_token: true, add_eos_token: true }, ["<s>", "▁I", "</s>"]],
    ["GPT-2 has none where the file does not say", "gpt-2", { add_bos_token: undefined }, ["I"]],
    ["LLaMA 3 has BOS where it does not say", "llama-bpe", { add_bos_token: undefined }, ["<|begin_of_text|>", "I"]],
    ["a space in front can be left out", "sentencepiece", { add_space_prefix: false }, ["<s>", "I"]],
  ] as const)("%s", async (_, name, changes, pieces) => {
    expect(await texted(changed(name, changes), "I")).toEqual(pieces);
  });
});

describe("kinds of tokens", () => {
  const added = (metadata: ReadonlyMap<string, unknown>) =>
    new Map<string, { special: boolean; normalized: boolean }>(
      specificationOf(metadata).added_tokens.map((token: { content: string }) => [token.content, token]),
    );

  test("control and unknown tokens are special, user-defined ones are text, all are found as they are written", () => {
    const tokens = added(references.sentencepiece.metadata);
    expect([...tokens.keys()]).toEqual(["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<tool_call>"]);
    expect(tokens.get("<|im_start|>")).toMatchObject({
      special: true,
      normalized: false,
      lstrip: false,
      rstrip: false,
    });
    expect(tokens.get("<tool_call>")).toMatchObject({ special: false, normalized: false });
  });

  test("a token that ends a generation is special, whatever the file says of it", () => {
    const metadata = changed("gpt-2", { token_type: withEntry("gpt-2", "token_type", idOf("gpt-2", "<|im_end|>"), 1) });
    expect(added(metadata).get("<|im_end|>")).toMatchObject({ special: true });
  });

  test("without types the named tokens are special and the byte tokens are bytes", async () => {
    const metadata = changed("sentencepiece", { token_type: undefined });
    expect([...added(metadata).keys()]).toEqual(["<unk>", "<s>", "</s>", "<|im_end|>"]);
    const tokenizer = await load(metadata);
    expect(tokenizer.encode("ꙮ", plain).map((id) => tokenizer.tokenText(id))).toEqual([
      "▁",
      "<0xEA>",
      "<0x99>",
      "<0xAE>",
    ]);
  });

  test("an unused token is never made from text", async () => {
    const before = await load(references.sentencepiece.metadata);
    const the = idOf("sentencepiece", "▁the");
    expect(before.encode("the", plain)).toEqual([the]);
    const types = withEntry("sentencepiece", "token_type", the, 5);
    const tokenizer = await load(changed("sentencepiece", { token_type: types }));
    expect(tokenizer.encode("the", plain)).not.toContain(the);
    expect(tokenizer.decode(tokenizer.encode("the", plain), { skipSpecialTokens: true })).toBe("the");
  });

  test("a user-defined run of spaces joins as its score says", async () => {
    const spaces = idOf("sentencepiece", "▁▁");
    const types = withEntry("sentencepiece", "token_type", spaces, 4);
    const scores = withEntry("sentencepiece", "scores", spaces, 0);
    const tokenizer = await load(changed("sentencepiece", { token_type: types, scores }));
    expect(tokenizer.encode(" x", plain)[0]).toBe(spaces);
  });

  test("an empty token has a name and an id", async () => {
    const id = idOf("gpt-2", "<tool_call>");
    const tokenizer = await load(changed("gpt-2", { tokens: withEntry("gpt-2", "tokens", id, "") }));
    expect(tokenizer.tokenText(id)).toBe(`[EMPTY_${id}]`);
    expect(tokenizer.encode("a <b> c", plain)).not.toContain(id);
  });
});

test("merges of a SentencePiece file come before its scores", () => {
  const merges = ["t h", "▁ t"];
  const metadata = changed("sentencepiece", { merges, scores: undefined });
  expect(specificationOf(metadata).model.merges).toEqual([
    ["t", "h"],
    ["▁", "t"],
  ]);
});

test("a merge that comes twice counts where it came first", () => {
  const merges = ["Ġ t", "h e", "Ġ t"];
  expect(specificationOf(changed("gpt-2", { merges })).model.merges).toEqual([
    ["Ġ", "t"],
    ["h", "e"],
  ]);
});

test("typed arrays are read as lists of numbers", () => {
  const { metadata } = references.sentencepiece;
  const typed = changed("sentencepiece", {
    scores: Float32Array.from(metadata.get("tokenizer.ggml.scores") as number[]),
    token_type: Int32Array.from(metadata.get("tokenizer.ggml.token_type") as number[]),
    bos_token_id: 1n,
  });
  expect(specificationOf(typed)).toEqual(specificationOf(metadata));
});

describe("a GGUF file's tokenizer is refused", () => {
  const spm = "sentencepiece";
  test.each([
    ["without a kind", spm, { model: undefined }, "has no tokenizer.ggml.model"],
    [
      "of another kind",
      spm,
      { model: "bert" },
      'of the kind "bert" (tokenizer.ggml.model); supported are llama and gpt2.',
    ],
    ["with a kind that is no text", spm, { model: 7 }, "a tokenizer.ggml.model that is not text"],
    [
      "that parts text in another way",
      "gpt-2",
      { pre: "qwen2" },
      'a way named "qwen2" (tokenizer.ggml.pre); supported are default, gpt-2, llama-bpe, smollm.',
    ],
    ["without a vocabulary", spm, { tokens: undefined }, "has no vocabulary (tokenizer.ggml.tokens)"],
    ["with an empty vocabulary", spm, { tokens: [] }, "has no vocabulary (tokenizer.ggml.tokens)"],
    ["with tokens that are no texts", spm, { tokens: [1, 2] }, "a tokenizer.ggml.tokens that is not a list of texts"],
    [
      "with a text for two tokens",
      spm,
      { tokens: withEntry(spm, "tokens", 1000, "▁the") },
      'gives the text "▁the" to two tokens, ',
    ],
    ["with too few scores", spm, { scores: [0, 1] }, "has 3000 tokens, but 2 entries in tokenizer.ggml.scores"],
    [
      "with scores that are no numbers",
      spm,
      { scores: ["a"] },
      "a tokenizer.ggml.scores that is not a list of numbers",
    ],
    [
      "with a score that is no number",
      spm,
      { scores: withEntry(spm, "scores", 700, Number.NaN) },
      "gives token 700 a score that is no finite number",
    ],
    ["with neither scores nor merges", spm, { scores: undefined }, "has neither scores nor merges"],
    ["with one score for all", spm, { scores: new Float32Array(3000) }, "gives all its tokens one score"],
    [
      "with too many types",
      spm,
      { token_type: new Int32Array(3001) },
      "has 3000 tokens, but 3001 entries in tokenizer",
    ],
    [
      "with an unknown type",
      spm,
      { token_type: withEntry(spm, "token_type", 9, 7) },
      "gives token 9 the type 7 (tokenizer.ggml.token_type), which is none of 1 to 6",
    ],
    [
      "with an id beyond the vocabulary",
      spm,
      { bos_token_id: 3000 },
      "names token 3000 as tokenizer.ggml.bos_token_id",
    ],
    ["with an id that is no number", spm, { eos_token_id: "2" }, "a tokenizer.ggml.eos_token_id that is not a number"],
    [
      "that adds a token it lacks",
      "gpt-2",
      { bos_token_id: undefined, add_bos_token: true },
      "wants its BOS token added",
    ],
    ["without merges", "gpt-2", { merges: undefined }, "has no merges (tokenizer.ggml.merges)"],
    ["with a merge of unknown tokens", "gpt-2", { merges: ["Ġ t", "q ☃"] }, 'into a third: "q ☃" (1)'],
    ["with a merge into an unknown token", "gpt-2", { merges: ["q q"] }, 'into a third: "q q" (0)'],
    ["with a merge of one token", "gpt-2", { merges: ["qu"] }, 'into a third: "qu" (0)'],
    ["that takes blanks away", spm, { remove_extra_whitespaces: true }, "removes extra whitespace"],
    ["that normalizes", spm, { precompiled_charsmap: new Uint8Array(8) }, "normalizes characters"],
  ] as const)("%s", (_, name, changes, words) => {
    let refusal: unknown;
    try {
      tokenizerFromGguf(changed(name, changes), "some/model.gguf");
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject({ code: "unsupported_tokenizer", message: expect.stringContaining(words) });
    expect((refusal as Error).message).toMatch(/^some\/model\.gguf .*\.$/);
  });

  test("and a good one is taken after it", () => {
    for (const { metadata } of Object.values(references)) {
      expect(tokenizerFromGguf(metadata, "some/model.gguf").length).toBeGreaterThan(1000);
    }
  });
});

function idOf(name: keyof typeof references, text: string): number {
  const tokens = references[name].metadata.get("tokenizer.ggml.tokens") as string[];
  const id = tokens.indexOf(text);
  if (id === -1) throw new Error(`${name} has no token ${text}`);
  return id;
}
