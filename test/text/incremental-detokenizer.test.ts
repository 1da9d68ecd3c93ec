import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { IncrementalDetokenizer } from "../../src/text/incremental-detokenizer.js";
import { Tokenizer } from "../../src/text/tokenizer.js";
import { byteLevelStyle, llamaStyle, metaspaceStyle, tokenizerOf } from "./small-tokenizers.js";
import { TestRandom } from "./test-random.js";

function streamed(tokenizer: Tokenizer, promptTail: readonly number[], ids: readonly number[]): string[] {
  const detokenizer = new IncrementalDetokenizer(tokenizer, promptTail);
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
}

const decoded = (tokenizer: Tokenizer, ids: readonly number[]) => tokenizer.decode(ids, { skipSpecialTokens: true });

const texts = [
  "Hello hello  héllo\n",
  "日本語 and 👩‍👩‍👧‍👦 family 😀😀",
  "\ufeffmark \ufffd replacement \ufffd\ufffd",
  " leading and trailing  ",
];

const tinyTokenizer = fileURLToPath(new URL("../tiny/tokenizer/tokenizer.json", import.meta.url));

describe.each([
  ["the tiny models'", () => Tokenizer.fromFile(tinyTokenizer)],
  ["a LLaMA-style", () => tokenizerOf(llamaStyle)],
  ["a metaspace", () => tokenizerOf(metaspaceStyle)],
  ["a byte-level", () => tokenizerOf(byteLevelStyle)],
])("an incremental detokenizer on %s tokenizer", (_, load) => {
  test("streams the text of the whole decode, for any ids", async () => {
    const tokenizer = await load();
    const random = new TestRandom(21);
    for (let round = 0; round < 1500; round += 1) {
      // A few ids beyond the vocabulary; in every second round bytes for the most part, valid only by accident.
      const limit = round % 2 === 0 ? tokenizer.vocabSize + 3 : 259;
      const ids = Array.from({ length: random.below(20) }, () => random.below(limit));
      expect(streamed(tokenizer, [], ids).join("")).toBe(decoded(tokenizer, ids));
    }
  });

  test("streams encoded text, after a prompt and without one", async () => {
    const tokenizer = await load();
    for (const text of texts) {
      const ids = tokenizer.encode(text, { addSpecialTokens: true });
      expect(streamed(tokenizer, [], ids).join("")).toBe(decoded(tokenizer, ids));
      for (let cut = 0; cut <= ids.length; cut += 1) {
        const [prompt, answer] = [ids.slice(0, cut), ids.slice(cut)];
        // A prompt that breaks off within a character is no text of its own; see below.
        if (streamed(tokenizer, [], prompt).at(-1) !== "") continue;
        const before = decoded(tokenizer, prompt);
        expect(before + streamed(tokenizer, prompt, answer).join("")).toBe(decoded(tokenizer, ids));
      }
    }
  });
});

describe("an incremental detokenizer", () => {
  test("holds an unfinished character back until its last byte", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    const ids = [0xf0, 0x9f, 0xa6, 0x84, 0x68].map((byte) => byte + 3);
    expect(streamed(tokenizer, [], ids)).toEqual(["", "", "", "🦄", "h", ""]);
  });

  test("flushes what never became a character as U+FFFD", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    const ids = [0x68, 0xf0, 0x9f].map((byte) => byte + 3);
    expect(streamed(tokenizer, [], ids)).toEqual(["h", "", "", "\ufffd"]);
  });

  test("gives a U+FFFD that was written at once", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    const ids = tokenizer.encode("h\ufffd", { addSpecialTokens: false });
    expect(streamed(tokenizer, [], ids).join("")).toBe("h\ufffd");
    expect(streamed(tokenizer, [], ids).at(-1)).toBe("");
  });

  test("skips special tokens, also within a character", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    expect(streamed(tokenizer, [], [1, 0xc3 + 3, 2, 0xa9 + 3, 2])).toEqual(["", "", "", "é", "", ""]);
  });

  test("parts prompt and answer by the space of the answer's first token; an answer on its own has none", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    const hello = tokenizer.encode("Hello", { addSpecialTokens: false });
    const prompt = tokenizer.encode("he", { addSpecialTokens: true });
    expect(streamed(tokenizer, prompt, hello).join("")).toBe(" Hello");
    expect(streamed(tokenizer, prompt.slice(-1), hello).join("")).toBe(" Hello");
    expect(streamed(tokenizer, [], hello).join("")).toBe("Hello");
    // BOS is no text.
    expect(streamed(tokenizer, [1], hello).join("")).toBe("Hello");
  });

  test("finishes a character that the prompt began", async () => {
    const tokenizer = await tokenizerOf(llamaStyle);
    expect(streamed(tokenizer, [0xc3 + 3], [0xa9 + 3])).toEqual(["é", ""]);
  });
});
