import { createParser } from "eventsource-parser";
import { z } from "zod";
import { linkedAbort } from "../../engine/linked-abort.js";
import { ToastError } from "../../errors.js";
import { errorText, failureText, jsonOf } from "../../openai/foreign-answer.js";
import { type BuiltinTemplateName, builtinTemplates } from "../../text/builtin-templates.js";
import { ChatTemplate } from "../../text/chat-template.js";
import { storableText } from "../battle-record.js";
import { type AnswerEvent, type Contestant, type Question, Stopwatch } from "./contestant.js";

export interface RemoteEntry {
  readonly id: string;
  readonly label: string;
  /** Base URL, as OpenAI's clients take it: `http://host:port/v1`. */
  readonly url: string;
  readonly model: string;
  readonly apiKey: string | null;
  /** Null: the other server's own, by chat completions; else plain completions of the rendered prompt. */
  readonly template: BuiltinTemplateName | null;
  readonly arena: boolean;
}

/** Where a model that writes on by itself begins the other's turn; plain completions have to be told. */
const turnStarts: Readonly<Record<BuiltinTemplateName, readonly string[]>> = {
  alpaca: ["\n\n### Instruction:"],
  vicuna: ["\nUSER:", " USER:"],
};

/** A server that is silent for so long is taken for dead. */
const silenceMs = 120_000;

const chunkSchema = z.looseObject({
  choices: z
    .array(
      z.looseObject({
        delta: z.looseObject({ content: z.string().nullish() }).nullish(),
        text: z.string().nullish(),
        finish_reason: z.string().nullish(),
      }),
    )
    .default([]),
  usage: z.looseObject({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish(),
  system_fingerprint: z.string().nullish(),
  error: z.unknown().optional(),
});
type Chunk = z.infer<typeof chunkSchema>;

/**
 * A model behind any OpenAI-compatible URL: vLLM, llama.cpp, Ollama, OpenAI, another toast-serve. Only addresses that
 * the operator configured are called, and redirects are not followed: a prompt cannot make this server call anywhere
 * else.
 */
export class RemoteContestant implements Contestant {
  readonly kind = "remote";
  readonly steering = null;
  readonly id: string;
  readonly label: string;
  readonly model: string;
  readonly template: BuiltinTemplateName | null;
  readonly arena: boolean;
  readonly #entry: RemoteEntry;

  constructor(entry: RemoteEntry) {
    this.id = entry.id;
    this.label = entry.label;
    this.model = entry.model;
    this.template = entry.template;
    this.arena = entry.arena;
    this.#entry = entry;
  }

  async *ask(question: Question, signal: AbortSignal): AsyncGenerator<AnswerEvent, void, undefined> {
    const stopwatch = new Stopwatch();
    let text = "";
    let finishReason: string | null = null;
    let usage: Chunk["usage"] = null;
    let systemFingerprint: string | null = null;
    for await (const chunk of this.#chunks(question, signal)) {
      const [choice] = chunk.choices;
      const piece = choice?.delta?.content ?? choice?.text ?? "";
      finishReason = choice?.finish_reason ?? finishReason;
      usage = chunk.usage ?? usage;
      systemFingerprint = chunk.system_fingerprint ?? systemFingerprint;
      if (piece === "") continue;
      stopwatch.sawText();
      text += piece;
      yield { kind: "text", text: piece };
    }
    if (finishReason === null) throw this.#failed("it ended its answer half-way");
    yield {
      kind: "end",
      side: {
        contestant: this.id,
        label: this.label,
        kind: "remote",
        model: this.model,
        adapter: null,
        steering: null,
        systemFingerprint,
        weightsHash: null,
        adapterHash: null,
        template: this.template,
        text: storableText(text),
        promptTokens: usage?.prompt_tokens ?? null,
        completionTokens: usage?.completion_tokens ?? null,
        ...stopwatch.times,
        finishReason,
      },
    };
  }

  async *#chunks(question: Question, signal: AbortSignal): AsyncGenerator<Chunk, void, undefined> {
    const { controller: silence, unlink } = linkedAbort(signal);
    const timer = setTimeout(() => silence.abort(), silenceMs);
    try {
      const response = await fetch(this.#endpoint, this.#request(question, silence.signal));
      if (!response.ok || response.body === null) {
        throw this.#failed(
          `it answered ${response.status}: ${errorText(await response.text()) ?? response.statusText}`,
        );
      }
      const arrived: string[] = [];
      const parser = createParser({ onEvent: ({ data }) => arrived.push(data) });
      const decoder = new TextDecoder();
      for await (const bytes of response.body) {
        timer.refresh();
        parser.feed(decoder.decode(bytes as Uint8Array, { stream: true }));
        for (const data of arrived.splice(0)) {
          if (data === "[DONE]") continue;
          const chunk = chunkSchema.safeParse(jsonOf(data));
          if (!chunk.success) throw this.#failed("it sent what is no chunk of an answer");
          if (chunk.data.error !== undefined) throw this.#failed(`it said: ${errorText(data) ?? "an error"}`);
          yield chunk.data;
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      if (silence.signal.aborted) throw this.#failed(`it was silent for ${silenceMs / 1000} seconds`);
      throw error instanceof ToastError ? error : this.#failed(failureText(error), error);
    } finally {
      clearTimeout(timer);
      unlink();
      silence.abort();
    }
  }

  get #endpoint(): string {
    const path = this.template === null ? "chat/completions" : "completions";
    return `${this.#entry.url.replace(/\/+$/, "")}/${path}`;
  }

  #request(question: Question, signal: AbortSignal): RequestInit {
    const { apiKey } = this.#entry;
    return {
      method: "POST",
      redirect: "error",
      signal,
      headers: {
        "content-type": "application/json",
        ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify({
        model: this.model,
        ...this.#prompt(question),
        stream: true,
        stream_options: { include_usage: true },
        temperature: question.temperature,
        top_p: question.topP,
        // Not max_completion_tokens, which many servers do not know.
        max_tokens: question.maxTokens,
        seed: question.seed,
      }),
    };
  }

  #prompt({ messages }: Question): object {
    if (this.template === null) return { messages };
    // The other server's tokenizer brings its own BOS.
    const template = new ChatTemplate(builtinTemplates[this.template], { bosToken: "", eosToken: "</s>" });
    return {
      prompt: template.render(messages, { addGenerationPrompt: true }),
      stop: turnStarts[this.template],
    };
  }

  #failed(what: string, cause?: unknown): ToastError {
    return new ToastError("contestant_failed", `${this.id} could not answer: ${what.slice(0, 500)}.`, { cause });
  }
}
