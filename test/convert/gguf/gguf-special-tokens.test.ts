import { describe, expect, test } from "vitest";
import { tokensFromGguf } from "../../../src/convert/gguf/gguf-special-tokens.js";
import { changed, references, withEntry } from "./tokenizer-reference.js";

describe("special tokens of a GGUF file", () => {
  test("are SmolLM2's, with all tokens that llama.cpp ends its texts at", () => {
    expect(tokensFromGguf(references.smollm2.metadata, "model.gguf")).toEqual({
      bos: { id: 1, text: "<|im_start|>" },
      eos: [
        { id: 2, text: "<|im_end|>" },
        { id: 0, text: "<|endoftext|>" },
        { id: 4, text: "<reponame>" },
      ],
      pad: { id: 2, text: "<|im_end|>" },
    });
  });

  test("are LLaMA's own where a SentencePiece file names none", () => {
    const unnamed = { bos_token_id: undefined, eos_token_id: undefined, unknown_token_id: undefined };
    expect(tokensFromGguf(changed("sentencepiece", unnamed), "model.gguf")).toEqual({
      bos: { id: 1, text: "<s>" },
      eos: [
        { id: 2, text: "</s>" },
        { id: 4, text: "<|im_end|>" },
      ],
      pad: null,
    });
  });

  test("end a text at the ends of turn and of message that the file names", () => {
    const tokens = tokensFromGguf(changed("gpt-2", { eot_token_id: 40, eom_token_id: 41n }), "model.gguf");
    expect(tokens.eos.map(({ id }) => id)).toEqual([
      tokens.eos[0]?.id,
      40,
      41,
      ...tokens.eos.slice(3).map(({ id }) => id),
    ]);
    expect(tokens.eos.map(({ text }) => text)).toContain("<|eot_id|>");
  });

  test("begin with the file's own end of sequence, which templates write", () => {
    expect(tokensFromGguf(changed("smollm2", { eos_token_id: 0 }), "model.gguf").eos.map(({ id }) => id)).toEqual([
      0, 2, 4,
    ]);
  });

  test("take a named parting of files for the one that is known by its text", () => {
    const { eos } = tokensFromGguf(changed("smollm2", { fim_rep_token_id: 3 }), "model.gguf");
    expect(eos.map(({ text }) => text)).toEqual(["<|im_end|>", "<|endoftext|>", "<repo_name>"]);
  });

  test("are none where the file writes −1", () => {
    const metadata = changed("smollm2", { padding_token_id: 0xffff_ffff, bos_token_id: -1 });
    expect(tokensFromGguf(metadata, "model.gguf")).toMatchObject({ bos: null, pad: null });
  });

  test("are refused when nothing ends a text", () => {
    let metadata = changed("smollm2", { eos_token_id: undefined });
    for (const [id, text] of [
      [0, "<a>"],
      [2, "<b>"],
      [4, "<c>"],
    ] as const) {
      const tokens = metadata.get("tokenizer.ggml.tokens") as string[];
      metadata = new Map([...metadata, ["tokenizer.ggml.tokens", tokens.with(id, text)]]);
    }
    expect(() => tokensFromGguf(metadata, "some/model.gguf")).toThrow(
      expect.objectContaining({
        code: "unsupported_tokenizer",
        message: expect.stringContaining("some/model.gguf names no end-of-sequence token"),
      }),
    );
    const again = changed("smollm2", { tokens: withEntry("smollm2", "tokens", 0, "<a>") });
    expect(tokensFromGguf(again, "some/model.gguf").eos.map(({ id }) => id)).toEqual([2, 4]);
  });
});
