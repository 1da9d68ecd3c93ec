import { join } from "node:path";
import type { OutputConstraint } from "../../grammar/constraint.js";
import type { CompiledConstraint } from "../../grammar/matcher.js";
import { type ChatTemplate, ordinaryRendering } from "../../text/chat-template.js";
import type { Tokenizer } from "../../text/tokenizer.js";
import type { LoadedModel } from "../load-model.js";
import type { Prompt } from "../prompt.js";
import { GrammarQueue } from "./grammar-queue.js";
import { type Asker, LongWork } from "./long-work.js";
import { PromptEncoder, type WrittenPrompt, writtenChat } from "./prompt-encoder.js";

type ChatPrompt = Extract<Prompt, { kind: "chat" }>;

/** Characters of a text that is tokenized where it comes: words in milliseconds, blanks in a tenth of a second. */
const shortText = 8_192;
/** Tokens that are written as text where they come: as much of it. */
const shortIds = 2_048;
/** Characters of what is asked of an output that is read where it comes. */
const shortGrammar = 2_000;
/** Spent on requests between two forwards, before the others go elsewhere. */
const mostMsInTurn = 30;

/**
 * What a request needs before its first forward: its template written, its text tokenized, its grammar compiled. Small
 * things are done at once, in the engine's thread, where they take less than a message to another; whatever may hold up
 * the streams is done elsewhere, or in slices.
 */
export class Preparation {
  readonly prompts: PromptEncoder;
  readonly #tokenizer: Tokenizer;
  readonly #longWork: LongWork;
  readonly #grammars: GrammarQueue;
  #spentMs = 0;

  constructor(loaded: LoadedModel) {
    const { manifest, path } = loaded.folder;
    this.#tokenizer = loaded.tokenizer;
    this.prompts = new PromptEncoder(loaded.tokenizer, manifest);
    this.#longWork = new LongWork({ tokenizerFile: join(path, manifest.files.tokenizer.name) });
    this.#grammars = new GrammarQueue(loaded);
  }

  /**
   * @param template writes messages; null: there is none.
   * @param checkText is called with the whole text before it is tokenized, and throws where it is too long.
   * @throws ToastError as `PromptEncoder.required` and `LongWork.do`; `invalid_request`, `chat_template_failed`
   */
  encode(
    prompt: Prompt,
    template: ChatTemplate | null,
    checkText: (text: string) => void,
    asker: Asker,
  ): readonly number[] | Promise<readonly number[]> {
    const written = this.#isBusy ? null : this.#timed(() => this.prompts.write(prompt, template));
    if (written === null) return this.#encodeElsewhere(prompt, template, checkText, asker);
    return this.#tokenized(written, checkText, asker);
  }

  /** What tokens say. @throws ToastError as `LongWork.do` */
  decode(
    ids: readonly number[],
    options: { readonly skipSpecialTokens: boolean },
    asker: Asker,
  ): string | Promise<string> {
    if (ids.length <= shortIds && !this.#isBusy) return this.#timed(() => this.#tokenizer.decode(ids, options));
    return this.#longWork.do({ kind: "detokenize", ids: Int32Array.from(ids), ...options }, asker);
  }

  /** What a template writes. @throws ToastError as {@link encode} */
  async render(prompt: ChatPrompt, template: ChatTemplate, asker: Asker): Promise<string> {
    const { messages, rendering = ordinaryRendering } = prompt;
    const quick = this.#isBusy ? null : this.#timed(() => template.renderQuickly(messages, rendering));
    return quick ?? this.#renderElsewhere(prompt, template, asker);
  }

  /** @throws ToastError for a constraint that cannot be honoured; `server_overloaded`; the signal's reason */
  compile(constraint: OutputConstraint, asker: Asker): CompiledConstraint | Promise<CompiledConstraint> {
    return this.#timed(() => {
      const known = this.#grammars.find(constraint);
      if (known !== null) return known;
      if (lengthOf(constraint) > shortGrammar || this.#isBusy) return this.#compileElsewhere(constraint, asker);
      return this.#grammars.compile(constraint, this.#grammars.read(constraint), asker);
    });
  }

  async close(): Promise<void> {
    this.#grammars.close();
    await this.#longWork.close();
  }

  async #encodeElsewhere(
    prompt: Prompt,
    template: ChatTemplate | null,
    checkText: (text: string) => void,
    asker: Asker,
  ): Promise<readonly number[]> {
    const written =
      prompt.kind === "chat"
        ? writtenChat(await this.#renderElsewhere(prompt, this.prompts.required(template), asker))
        : this.prompts.write(prompt, template);
    if (written === null) throw new Error("a prompt that is no chat needs no template");
    return this.#tokenized(written, checkText, asker);
  }

  #renderElsewhere(
    { messages, rendering = ordinaryRendering }: ChatPrompt,
    { source, tokens }: ChatTemplate,
    asker: Asker,
  ): Promise<string> {
    return this.#longWork.do({ kind: "render", source, tokens, messages, rendering }, asker);
  }

  #tokenized(
    written: WrittenPrompt,
    checkText: (text: string) => void,
    asker: Asker,
  ): readonly number[] | Promise<readonly number[]> {
    if (written.kind === "ids") return written.ids;
    const { text, addSpecialTokens } = written;
    checkText(text);
    if (text.length <= shortText && !this.#isBusy) return this.#timed(() => this.prompts.encode(written));
    return this.#longWork.do({ kind: "tokenize", text, addSpecialTokens }, asker).then((ids) => Array.from(ids));
  }

  async #compileElsewhere(constraint: OutputConstraint, asker: Asker): Promise<CompiledConstraint> {
    const rules = await this.#longWork.do({ kind: "readGrammar", constraint }, asker);
    return this.#grammars.compile(constraint, rules, asker);
  }

  /** Whether what came since the last forward has had its time. */
  get #isBusy(): boolean {
    return this.#spentMs > mostMsInTurn;
  }

  #timed<Result>(work: () => Result): Result {
    if (this.#spentMs === 0) setImmediate(() => (this.#spentMs = 0));
    const begunAt = performance.now();
    try {
      return work();
    } finally {
      this.#spentMs += performance.now() - begunAt;
    }
  }
}

function lengthOf(constraint: OutputConstraint): number {
  return JSON.stringify(constraint).length;
}
