import { ToastError } from "../../errors.js";
import type { ChatMessage } from "../../text/chat-message.js";
import { ChatTemplate } from "../../text/chat-template.js";
import { tokensFromGguf } from "./gguf-special-tokens.js";
import type { GgufValues } from "./gguf-vocabulary.js";

/**
 * The chat format of a GGUF file (`tokenizer.chat_template`), tried on a conversation. A file may bring more under
 * names (`tokenizer.chat_template.tool_use`); as in a Hugging Face folder the one without a name is served.
 * @param file Path for the messages.
 * @returns Jinja source, or null when the file brings none.
 * @throws ToastError `chat_template_failed` when the template is no text, no valid Jinja, or writes no conversation,
 * and as `tokensFromGguf`.
 */
export function templateFromGguf(metadata: GgufValues, file: string): string | null {
  const source = metadata.get("tokenizer.chat_template") ?? metadata.get("tokenizer.chat_template.default");
  if (source === undefined) return null;
  if (typeof source !== "string") {
    throw new ToastError("chat_template_failed", `${file}: tokenizer.chat_template is not a text.`);
  }
  const { bos, eos } = tokensFromGguf(metadata, file);
  try {
    const template = new ChatTemplate(source, { bosToken: bos?.text ?? "", eosToken: eos[0]?.text ?? "" });
    tryOn(template, [userMessage], [systemMessage, userMessage]);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ToastError(
      "chat_template_failed",
      `${file} has a chat template that cannot be used: ${reason} Another can be given with --chat-template.`,
      { cause },
    );
  }
  return source;
}

const userMessage: ChatMessage = { role: "user", content: "Hello" };
/** Some templates refuse a conversation with it, others one without. */
const systemMessage: ChatMessage = { role: "system", content: "Answer in one word." };

/** @throws ToastError `chat_template_failed` when it writes neither of two conversations: why not the first. */
function tryOn(template: ChatTemplate, first: readonly ChatMessage[], second: readonly ChatMessage[]): void {
  try {
    template.render(first, { addGenerationPrompt: true });
  } catch (reason) {
    try {
      template.render(second, { addGenerationPrompt: true });
    } catch {
      throw reason;
    }
  }
}
