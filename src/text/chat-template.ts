import { ToastError } from "../errors.js";
import { parseJsonTree } from "../json-tree.js";
import { callFormatOf } from "./call-format-of.js";
import type { ChatMessage, ToolCall, ToolDefinition } from "./chat-message.js";
import { TooMuchWork } from "./jinja/evaluate.js";
import { JinjaTemplate } from "./jinja/jinja-template.js";
import { Callable } from "./jinja/values.js";
import { type CallFormat, callMarkup, ownFormat, toolObject, toolsAsText } from "./tool-call-format.js";

/** How a template is asked to write messages. */
export interface Rendering {
  /** Whether the text ends where the assistant's answer begins. */
  readonly addGenerationPrompt: boolean;
  /** Whether the text ends within the last message, for its author to go on. */
  readonly continueFinalMessage: boolean;
  /** Variables of the template's own, `enable_thinking` say. */
  readonly variables: Readonly<Record<string, string | number | boolean | null>>;
  /** What the model is told that it can call. */
  readonly tools?: readonly ToolDefinition[];
}

export const ordinaryRendering: Rendering = {
  addGenerationPrompt: true,
  continueFinalMessage: false,
  variables: {},
};

/** The texts that a template writes as `bos_token` and `eos_token`; empty for a tokenizer without them. */
export interface TemplateTokens {
  readonly bosToken: string;
  readonly eosToken: string;
  /** All texts of special tokens, which stand in no answer; absent: none is known. */
  readonly specialTexts?: readonly string[];
}

/** Of the work that a template may do, so much is done in a hundredth of a second. */
const littleWork = 50_000;

/**
 * A model's chat format: Jinja source as in tokenizer_config.json, with what Hugging Face gives it (blocks trimmed,
 * `raise_exception`, `strftime_now`, `bos_token`, `eos_token`). The rendered text has its special tokens written out:
 * it is encoded without adding any.
 *
 * @see https://huggingface.co/docs/transformers/chat_templating
 */
export class ChatTemplate {
  /** Jinja. */
  readonly source: string;
  readonly #template: JinjaTemplate;
  readonly tokens: TemplateTokens;
  /**
   * How calls stand in what it writes, and in answers; null: it knows no tools, and is told of them in texts of ours.
   */
  readonly calls: CallFormat | null;
  /** Whether it reads content as a list of typed parts, and no other. */
  readonly #wantsParts: boolean;

  /** @throws ToastError `chat_template_failed` when the source is no valid Jinja. */
  constructor(source: string, specialTokens: TemplateTokens) {
    this.source = source;
    this.tokens = specialTokens;
    try {
      this.#template = new JinjaTemplate(source);
    } catch (cause) {
      throw new ToastError("chat_template_failed", `The chat template cannot be read: ${messageOf(cause)}`, { cause });
    }
    this.#wantsParts = !this.#writes("text") && this.#writes("parts");
    this.calls = this.#callFormat();
  }

  /**
   * Tools go to a template that knows them; else they, and calls and results among the messages, are written as text.
   * @throws ToastError `chat_template_failed`, with the template's own sentence where it refuses the messages.
   */
  render(messages: readonly ChatMessage[], asked: Partial<Rendering> & Pick<Rendering, "addGenerationPrompt">): string {
    return this.#rendered(messages, { ...ordinaryRendering, ...asked });
  }

  /** The same where it takes little time. @returns null where it takes more. @throws as {@link render} */
  renderQuickly(messages: readonly ChatMessage[], rendering: Rendering): string | null {
    try {
      return this.#rendered(messages, rendering, littleWork);
    } catch (cause) {
      if (cause instanceof ToastError && cause.cause instanceof TooMuchWork) return null;
      throw cause;
    }
  }

  #rendered(messages: readonly ChatMessage[], rendering: Rendering, mostWork?: number): string {
    const text = this.#render(messages, rendering, mostWork);
    return rendering.continueFinalMessage ? cutBehindFinalMessage(text, messages) : text;
  }

  /** Whether a message's text comes out when it goes in as that. */
  #writes(form: "text" | "parts"): boolean {
    const said = "toast-probe";
    const content = form === "text" ? said : [{ type: "text", text: said }];
    try {
      return this.#run([{ role: "user", content }], [], ordinaryRendering, littleWork).includes(said);
    } catch {
      return false;
    }
  }

  #callFormat(): CallFormat | null {
    if (!/\btools\b/.test(this.source)) return null;
    const found = callFormatOf(
      (messages, tools, addGenerationPrompt) =>
        this.#write(messages, tools, { ...ordinaryRendering, addGenerationPrompt }, littleWork),
      this.tokens.specialTexts ?? [],
    );
    // A template that has our tags and cannot be asked with a probe is believed.
    return found ?? (this.source.includes(callMarkup.open) ? ownFormat : null);
  }

  #render(messages: readonly ChatMessage[], rendering: Rendering, mostWork?: number): string {
    const { tools = [] } = rendering;
    if (this.calls !== null) return this.#write(messages, tools, rendering, mostWork);
    return this.#write(toolsAsText(messages, tools), [], rendering, mostWork);
  }

  #write(
    messages: readonly ChatMessage[],
    tools: readonly ToolDefinition[],
    rendering: Rendering,
    mostWork?: number,
  ): string {
    const written = messages.map((message) => templateMessage(message, this.#wantsParts));
    return this.#run(written, tools, rendering, mostWork);
  }

  /** @throws ToastError `chat_template_failed` */
  #run(messages: readonly object[], tools: readonly ToolDefinition[], rendering: Rendering, mostWork?: number): string {
    try {
      const variables = {
        ...rendering.variables,
        messages,
        add_generation_prompt: rendering.addGenerationPrompt,
        bos_token: this.tokens.bosToken,
        eos_token: this.tokens.eosToken,
        // Templates ask `tools is not none`, which an undefined variable would answer with yes.
        tools: tools.length > 0 ? tools.map(toolObject) : null,
        documents: null,
        raise_exception: new Callable("raise_exception", ([sentence]) => {
          throw new TemplateRefusal(String(sentence));
        }),
        strftime_now: new Callable("strftime_now", ([format]) => formatTime(new Date(), String(format))),
      };
      return this.#template.render(variables, mostWork);
    } catch (cause) {
      const message =
        cause instanceof TemplateRefusal ? cause.message : `The chat template failed: ${messageOf(cause)}`;
      throw new ToastError("chat_template_failed", message, { field: "prompt.messages", cause });
    }
  }
}

/** As templates of Hugging Face find it. */
function templateMessage({ role, content, name, toolCalls, toolCallId }: ChatMessage, inParts: boolean): object {
  return {
    role,
    content: inParts ? [{ type: "text", text: content }] : content,
    ...(name === undefined ? {} : { name }),
    ...(toolCalls === undefined ? {} : { tool_calls: toolCalls.map(templateCall) }),
    ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }),
  };
}

/** Templates write the arguments as JSON themselves, from an object; what is none stays the text that it is. */
function templateCall({ id, name, arguments: text }: ToolCall): object {
  let value: unknown = text;
  try {
    value = parseJsonTree(text);
  } catch {}
  return { id, type: "function", function: { name, arguments: value } };
}

/**
 * Takes off what the template writes behind the last message (the end of its turn).
 * @see https://huggingface.co/docs/transformers/chat_templating#continuefinalmessage
 */
function cutBehindFinalMessage(text: string, messages: readonly ChatMessage[]): string {
  const content = messages.at(-1)?.content ?? "";
  const at = [content, content.trim()].map((words) => [text.lastIndexOf(words), words.length] as const);
  const [start, length] = at.find(([found]) => found !== -1) ?? [-1, 0];
  if (start === -1 || content.trim() === "") {
    const message = "The last message cannot be continued: the chat template does not write its text as it is.";
    throw new ToastError("chat_template_failed", message, { field: "prompt.rendering.continueFinalMessage" });
  }
  return text.slice(0, start + length);
}

/** What a template says with `raise_exception`. */
class TemplateRefusal extends Error {}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Python's strftime in local time and English, for the directives that make dates and times. */
function formatTime(time: Date, format: string): string {
  const named = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat("en-US", options).format(time);
  const two = (value: number) => String(value).padStart(2, "0");
  return format.replace(/%(-?)([YymdeBbAaHIMSp%])/g, (_, unpadded: string, directive: string) => {
    const value = ((): string => {
      switch (directive) {
        case "Y":
          return String(time.getFullYear());
        case "y":
          return two(time.getFullYear() % 100);
        case "m":
          return two(time.getMonth() + 1);
        case "d":
          return two(time.getDate());
        case "e":
          return String(time.getDate()).padStart(2, " ");
        case "B":
          return named({ month: "long" });
        case "b":
          return named({ month: "short" });
        case "A":
          return named({ weekday: "long" });
        case "a":
          return named({ weekday: "short" });
        case "H":
          return two(time.getHours());
        case "I":
          return two(time.getHours() % 12 || 12);
        case "M":
          return two(time.getMinutes());
        case "S":
          return two(time.getSeconds());
        case "p":
          return time.getHours() < 12 ? "AM" : "PM";
        default:
          return "%";
      }
    })();
    return unpadded === "" ? value : value.replace(/^[0 ](?=.)/, "");
  });
}
