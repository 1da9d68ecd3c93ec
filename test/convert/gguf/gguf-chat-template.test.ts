import { describe, expect, test } from "vitest";
import { templateFromGguf } from "../../../src/convert/gguf/gguf-chat-template.js";
import { ChatTemplate } from "../../../src/text/chat-template.js";
import { references } from "./tokenizer-reference.js";

function withTemplate(key: string, value: unknown): Map<string, unknown> {
  const metadata = new Map(references.smollm2.metadata);
  metadata.delete("tokenizer.chat_template");
  return metadata.set(key, value);
}

describe("the chat template of a GGUF file", () => {
  test("is SmolLM2's, and writes its conversations", () => {
    const source = templateFromGguf(references.smollm2.metadata, "model.gguf") ?? "";
    const template = new ChatTemplate(source, { bosToken: "<|im_start|>", eosToken: "<|im_end|>" });
    expect(template.render([{ role: "user", content: "Hi" }], { addGenerationPrompt: true })).toBe(
      "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n" +
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    );
  });

  test("is null where the file has none, or only some for other purposes", () => {
    expect(templateFromGguf(references["gpt-2"].metadata, "model.gguf")).toBeNull();
    expect(templateFromGguf(withTemplate("tokenizer.chat_template.tool_use", "x"), "model.gguf")).toBeNull();
  });

  test("may have the name default", () => {
    expect(templateFromGguf(withTemplate("tokenizer.chat_template.default", "{{ bos_token }}"), "model.gguf")).toBe(
      "{{ bos_token }}",
    );
  });

  test("may want a system message first", () => {
    const source =
      "{% if messages[0].role != 'system' %}{{ raise_exception('System first.') }}{% endif %}{{ messages[0].content }}";
    expect(templateFromGguf(withTemplate("tokenizer.chat_template", source), "model.gguf")).toBe(source);
  });

  test.each([
    ["is no valid Jinja", "{% if %}"],
    ["calls what there is not", "{{ messages | frobnicate }}"],
    ["is no text", 7],
  ])("is refused when it %s", (_, source) => {
    expect(() => templateFromGguf(withTemplate("tokenizer.chat_template", source), "some/model.gguf")).toThrow(
      expect.objectContaining({
        code: "chat_template_failed",
        message: expect.stringMatching(/^some\/model\.gguf.*chat.template/),
      }),
    );
    expect(templateFromGguf(references.smollm2.metadata, "some/model.gguf")).toContain("<|im_start|>");
  });
});
