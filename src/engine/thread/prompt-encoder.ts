import { ToastError } from "../../errors.js";
import type { AdapterManifest, BackboneManifest } from "../../model/manifest.js";
import { ChatTemplate, ordinaryRendering } from "../../text/chat-template.js";
import type { Tokenizer } from "../../text/tokenizer.js";
import { requireToken } from "../loop/admission.js";
import type { Prompt } from "../prompt.js";

/** A prompt as it goes to the tokenizer, or has been there. */
export type WrittenPrompt =
  | { readonly kind: "ids"; readonly ids: readonly number[] }
  | { readonly kind: "text"; readonly text: string; readonly addSpecialTokens: boolean };

/** What a template has written: it writes the special tokens itself. */
export function writtenChat(text: string): WrittenPrompt {
  return { kind: "text", text, addSpecialTokens: false };
}

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
   * @returns null where a template takes long: then it is to be rendered elsewhere.
   * @throws ToastError `invalid_request`, `chat_template_missing`, `chat_template_failed`
   */
  write(prompt: Prompt, template: ChatTemplate | null): WrittenPrompt | null {
    switch (prompt.kind) {
      case "tokens":
        return { kind: "ids", ids: this.checked(prompt.ids) };
      case "text":
        return { kind: "text", text: prompt.text, addSpecialTokens: prompt.addSpecialTokens };
      case "chat": {
        const text = this.required(template).renderQuickly(prompt.messages, prompt.rendering ?? ordinaryRendering);
        return text === null ? null : writtenChat(text);
      }
    }
  }

  /** @returns the ids. @throws ToastError `invalid_request` for those that the vocabulary does not have */
  checked(ids: readonly number[]): readonly number[] {
    for (const id of ids) requireToken(id, this.#manifest.architecture.vocabSize, "prompt.ids");
    return ids;
  }

  /** At once, in this thread. */
  encode(prompt: WrittenPrompt): readonly number[] {
    return prompt.kind === "ids" ? prompt.ids : this.#tokenizer.encode(prompt.text, prompt);
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
