import { ToastError } from "../../errors.js";
import type { AdapterManifest, BackboneManifest } from "../../model/manifest.js";
import { ChatTemplate, ordinaryRendering } from "../../text/chat-template.js";
import type { Tokenizer } from "../../text/tokenizer.js";
import { requireToken } from "../loop/admission.js";
import type { Prompt } from "../prompt.js";

/** Prompts → token ids: one model folder's tokenizer and chat templates. */
export class PromptEncoder {
  /** The base's; null: chat requests fail. */
  readonly baseTemplate: ChatTemplate | null;
  readonly #tokenizer: Tokenizer;
  /** Why the base's template is not there, where it should be. */
  #unreadable: ToastError | null = null;
  readonly #manifest: BackboneManifest;

  constructor(tokenizer: Tokenizer, manifest: BackboneManifest) {
    this.#tokenizer = tokenizer;
    this.#manifest = manifest;
    this.baseTemplate = this.#readable(manifest.chatTemplate);
  }

  /** An adapter's own template, else the base's. @throws ToastError `chat_template_failed` */
  templateFor({ chatTemplate }: AdapterManifest): ChatTemplate | null {
    return chatTemplate === null ? this.baseTemplate : this.#compiled(chatTemplate);
  }

  /**
   * @param template writes messages; null: there is none.
   * @param checkText is called with the whole text before it is tokenized, and throws where it is too long.
   * @throws ToastError `invalid_request`, `chat_template_missing`, `chat_template_failed`
   */
  encode(prompt: Prompt, template: ChatTemplate | null, checkText: (text: string) => void): readonly number[] {
    switch (prompt.kind) {
      case "tokens":
        for (const id of prompt.ids) requireToken(id, this.#manifest.architecture.vocabSize, "prompt.ids");
        return prompt.ids;
      case "text":
        checkText(prompt.text);
        return this.#tokenizer.encode(prompt.text, { addSpecialTokens: prompt.addSpecialTokens });
      case "chat": {
        const text = this.required(template).render(prompt.messages, prompt.rendering ?? ordinaryRendering);
        checkText(text);
        // The template writes the special tokens itself.
        return this.#tokenizer.encode(text, { addSpecialTokens: false });
      }
    }
  }

  /** @throws ToastError `chat_template_missing`, `chat_template_failed` */
  required(template: ChatTemplate | null): ChatTemplate {
    if (template !== null) return template;
    if (this.#unreadable !== null) throw this.#unreadable;
    const message = `Model ${this.#manifest.id} has no chat template. Convert it with --chat-template alpaca, vicuna or a Jinja file.`;
    throw new ToastError("chat_template_missing", message, { field: "model" });
  }

  /** A model whose template cannot be read goes on with texts; who sends messages is told what is wrong. */
  #readable(source: string | null): ChatTemplate | null {
    try {
      return this.#compiled(source);
    } catch (cause) {
      if (!(cause instanceof ToastError)) throw cause;
      const message = `Model ${this.#manifest.id} cannot be asked with messages. ${cause.message} Convert it with --chat-template.`;
      this.#unreadable = new ToastError(cause.code, message, { field: "prompt.messages", cause });
      return null;
    }
  }

  #compiled(source: string | null): ChatTemplate | null {
    const { bos, eos } = this.#manifest.tokens;
    return source === null
      ? null
      : new ChatTemplate(source, {
          bosToken: bos?.text ?? "",
          eosToken: eos[0]?.text ?? "",
          specialTexts: this.#tokenizer.specialTexts,
        });
  }
}
