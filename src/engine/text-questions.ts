import { type RequestField, ToastError } from "../errors.js";
import type { Tokenizer } from "../text/tokenizer.js";
import { requireToken } from "./loop/admission.js";
import type { Prompt } from "./prompt.js";

/**
 * What can be asked of a model's tokenizer and templates without generating. The worker holds both.
 */
export type TextQuestion =
  /** What a prompt's tokens are. `adapter`: whose chat template; null: the base's. */
  | { readonly kind: "encode"; readonly prompt: Prompt; readonly adapter: string | null }
  | { readonly kind: "decode"; readonly ids: readonly number[]; readonly specialTokens: "written" | "skipped" }
  /** What the chat template makes of messages. */
  | { readonly kind: "render"; readonly prompt: Prompt & { readonly kind: "chat" }; readonly adapter: string | null }
  | { readonly kind: "describe"; readonly adapter: string | null };

/** The answer to each kind of question. */
export interface TextAnswers {
  readonly encode: {
    readonly ids: readonly number[];
    /** The vocabulary's piece of each (`▁Hello`). */
    readonly pieces: readonly string[];
  };
  readonly decode: { readonly text: string };
  readonly render: { readonly text: string };
  readonly describe: TokenizerInfo;
}

export interface TokenizerInfo {
  readonly vocabSize: number;
  readonly bosToken: SpecialToken | null;
  readonly eosTokens: readonly SpecialToken[];
  /** Jinja; null: there is none. */
  readonly chatTemplate: string | null;
}

export interface SpecialToken {
  readonly id: number;
  readonly text: string;
}

/**
 * Characters of a text, or ids of a list, that are taken in one question: a tokenizer takes half a microsecond for a
 * character of words and ten for one of blanks, so this much is a second at worst.
 */
export const maxQuestionSize = 100_000;

/** What answers need of a model. */
export interface TextParts {
  readonly tokenizer: Tokenizer;
  /** @param checkText is called with the text before it is tokenized. */
  encode(
    prompt: Prompt,
    adapter: string | null,
    checkText: (text: string) => void,
  ): readonly number[] | Promise<readonly number[]>;
  /** What tokens say. */
  decode(ids: readonly number[], skipSpecialTokens: boolean): string | Promise<string>;
  /** What a template writes. */
  render(prompt: Extract<Prompt, { kind: "chat" }>, adapter: string | null): Promise<string>;
  info(adapter: string | null): TokenizerInfo;
}

/** @throws ToastError `invalid_request`, `chat_template_missing`, `chat_template_failed` */
export async function answerQuestion(
  question: TextQuestion,
  parts: TextParts,
): Promise<TextAnswers[TextQuestion["kind"]]> {
  switch (question.kind) {
    case "encode": {
      const { prompt, adapter } = question;
      checkQuestionSize(prompt);
      // Tools and calls are part of what a template writes, too.
      const field = prompt.kind === "chat" ? "prompt.messages" : "prompt.text";
      const ids = await parts.encode(prompt, adapter, ({ length }) => checkSize(length, "characters", field));
      return { ids, pieces: ids.map((id) => parts.tokenizer.tokenText(id) ?? "") };
    }
    case "decode": {
      checkQuestionSize({ kind: "tokens", ids: question.ids });
      const { vocabSize } = parts.info(null);
      for (const id of question.ids) requireToken(id, vocabSize, "prompt.ids");
      return { text: await parts.decode(question.ids, question.specialTokens === "skipped") };
    }
    case "render": {
      checkQuestionSize(question.prompt);
      return { text: await parts.render(question.prompt, question.adapter) };
    }
    case "describe":
      return parts.info(question.adapter);
  }
}

function checkQuestionSize(prompt: Prompt): void {
  checkSize(...sizeOf(prompt));
}

function checkSize(size: number, things: string, field: RequestField): void {
  if (size > maxQuestionSize) {
    const message = `${size} ${things} are more than the ${maxQuestionSize} that can be asked about at once. Send them in parts.`;
    throw new ToastError("invalid_request", message, { field });
  }
}

function sizeOf(prompt: Prompt): [size: number, things: string, field: RequestField] {
  switch (prompt.kind) {
    case "chat":
      return [prompt.messages.reduce((sum, { content }) => sum + content.length, 0), "characters", "prompt.messages"];
    case "text":
      return [prompt.text.length, "characters", "prompt.text"];
    case "tokens":
      return [prompt.ids.length, "tokens", "prompt.ids"];
  }
}
