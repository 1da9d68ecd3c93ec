import { ToastError } from "../errors.js";
import type { BackboneManifest } from "../model/manifest.js";
import type { ChatMessage } from "../text/chat-message.js";
import { ChatTemplate } from "../text/chat-template.js";

const user: ChatMessage = { role: "user", content: "Hi" };
const assistant: ChatMessage = { role: "assistant", content: "Hello." };
const system: ChatMessage = { role: "system", content: "Be brief." };

const trials: readonly (readonly [what: string, messages: readonly ChatMessage[]])[] = [
  ["a question", [user]],
  ["a question behind an answer", [user, assistant, user]],
  ["a system message", [system, user]],
];

/**
 * Tries a chat template: what it cannot do is said while the model is converted, and not to a client later.
 * @returns a sentence for each conversation that it does not write.
 */
export function tryTemplate(source: string, tokens: BackboneManifest["tokens"]): readonly string[] {
  let template: ChatTemplate;
  try {
    template = new ChatTemplate(source, { bosToken: tokens.bos?.text ?? "", eosToken: tokens.eos[0]?.text ?? "" });
  } catch (cause) {
    if (!(cause instanceof ToastError)) throw cause;
    return [`${cause.message}. The model will answer completions and no messages: give another with --chat-template.`];
  }
  return trials.flatMap(([what, messages]) => {
    try {
      template.render(messages, { addGenerationPrompt: true });
      return [];
    } catch (cause) {
      if (!(cause instanceof ToastError)) throw cause;
      return [`The chat template does not write ${what}: ${cause.message}`];
    }
  });
}
