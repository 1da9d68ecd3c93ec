import { createParser } from "eventsource-parser";
import { z } from "zod";
import { type ErrorCode, ToastError } from "../../errors.js";
import { linkedAbort } from "../../linked-abort.js";
import { errorText, failureText, jsonOf } from "../../remote-response.js";
import { type BuiltinTemplateName, builtinTemplates } from "../../text/builtin-templates.js";
import { ChatTemplate } from "../../text/chat-template.js";
import { type BattleSide, storableText, toldSteering } from "../battle-record.js";

export interface ArenaMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** What both sides of a comparison are asked: the same words, sampling and seed. */
export interface Question {
  readonly messages: readonly ArenaMessage[];
  readonly temperature: number;
  readonly topP: number;
  readonly maxTokens: number;
  readonly seed: number;
}

/** Any number of `text`, then one `end`. */
export type AnswerEvent =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "end"; readonly side: BattleSide };

/** The request's `steering`, as far as it is chosen beforehand. */
export interface SteeringChoice {
  readonly adapter?: string;
  readonly strength?: number;
  readonly layers?: [from: number, to: number];
  /** Control vectors, beside the adapter or alone. */
  readonly vectors?: { name: string; strength?: number; layers?: [from: number, to: number] }[];
}

interface Entry {
  readonly id: string;
  readonly label: string;
  readonly model: string;
  /** Put before every conversation; null: nothing is. */
  readonly system: string | null;
  /** Whether random pairs may draw it. */
  readonly arena: boolean;
}

export interface ServedEntry extends Entry {
  /** As the configuration fixes it; null: as the model id says. */
  readonly steering: SteeringChoice | null;
}

export interface RemoteEntry extends Entry {
  /** Base URL, as OpenAI's clients take it: `http://host:port/v1`. */
  readonly url: string;
  readonly apiKey: string | null;
  /** Null: the other server's own, by chat completions; else plain completions of the rendered prompt. */
  readonly template: BuiltinTemplateName | null;
}

/** The server itself: its models as they are now, and its chat completions. */
export interface OwnServer {
  models(): readonly OwnModel[];
  /** @throws what the server would have answered with an error; behind its first byte, errors are events as ever. */
  fetch(request: Request): Promise<Response>;
}

export interface OwnModel {
  readonly id: string;
  /** Hashes of the weights. */
  readonly base: {
    readonly fingerprint: string;
    readonly adapters: readonly { readonly name: string; readonly fingerprint: string }[];
    readonly vectors: readonly { readonly name: string; readonly fingerprint: string }[];
  };
}

/** Where a model that writes on by itself begins the other's turn; plain completions have to be told. */
const turnStarts: Readonly<Record<BuiltinTemplateName, readonly string[]>> = {
  alpaca: ["\n\n### Instruction:"],
  vicuna: ["\nUSER:", " USER:"],
};

/** Another server that is silent for so long is taken for dead. */
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
  steering: toldSteering.nullish().catch(null),
  error: z.unknown().optional(),
});
type Chunk = z.infer<typeof chunkSchema>;

const ownError = z.object({ code: z.string(), message: z.string(), param: z.string().nullable() });

/**
 * Who can be asked: a model of this server, or one behind any other OpenAI-compatible URL (vLLM, llama.cpp, Ollama,
 * OpenAI, another toast-serve). Both are asked by the same requests. Of other servers only those that the operator
 * configured are called, and redirects are not followed: a prompt cannot make this server call anywhere else.
 */
export class Contestant {
  readonly kind: "served" | "remote";
  readonly id: string;
  readonly label: string;
  readonly model: string;
  readonly steering: SteeringChoice | null;
  readonly system: string | null;
  readonly template: BuiltinTemplateName | null;
  readonly arena: boolean;
  /** Null: asked at its URL. */
  readonly #own: OwnServer | null;
  readonly #url: string;
  readonly #apiKey: string | null;

  private constructor(entry: Partial<RemoteEntry> & Partial<ServedEntry> & Entry, own: OwnServer | null) {
    this.kind = own === null ? "remote" : "served";
    this.id = entry.id;
    this.label = entry.label;
    this.model = entry.model;
    this.steering = entry.steering ?? null;
    this.system = entry.system;
    this.template = entry.template ?? null;
    this.arena = entry.arena;
    this.#own = own;
    // Nobody is called there: a request has to have an address.
    this.#url = (entry.url ?? "http://localhost/v1").replace(/\/+$/, "");
    this.#apiKey = entry.apiKey ?? null;
  }

  static served(entry: ServedEntry, own: OwnServer): Contestant {
    return new Contestant(entry, own);
  }

  static remote(entry: RemoteEntry): Contestant {
    return new Contestant(entry, null);
  }

  /**
   * The same model steered otherwise, or told something else before the conversation, for one comparison; null: as it
   * is.
   * @throws ToastError `invalid_request` when what was asked for has no steering to change.
   */
  changedBy({
    steering,
    system,
  }: {
    readonly steering: SteeringChoice | null;
    readonly system: string | null;
  }): Contestant {
    if (steering !== null && this.#own === null) {
      throw new ToastError("invalid_request", `'${this.id}' is not a model of this server: it cannot be steered.`, {
        param: "contestants",
      });
    }
    const changed = { steering: steering ?? this.steering, system: system ?? this.system };
    return new Contestant({ ...this, ...changed, url: this.#url, apiKey: this.#apiKey }, this.#own);
  }

  /**
   * @throws ToastError, also while the answer is read; `contestant_failed` for what another server did.
   * Aborting `signal` ends the answer.
   */
  async *ask(question: Question, signal: AbortSignal): AsyncGenerator<AnswerEvent, void, undefined> {
    const startedAt = performance.now();
    const elapsed = () => Math.round(10 * (performance.now() - startedAt)) / 10;
    const weights = this.#own?.models().find(({ id }) => id === this.model)?.base;
    let text = "";
    let firstTokenMs: number | null = null;
    let finishReason: string | null = null;
    let usage: Chunk["usage"] = null;
    let systemFingerprint: string | null = null;
    let steering: Chunk["steering"] = null;
    for await (const chunk of this.#chunks(question, signal)) {
      const [choice] = chunk.choices;
      const piece = choice?.delta?.content ?? choice?.text ?? "";
      finishReason = choice?.finish_reason ?? finishReason;
      usage = chunk.usage ?? usage;
      systemFingerprint = chunk.system_fingerprint ?? systemFingerprint;
      // What another server says of steering is not known to mean the same.
      if (this.#own !== null) steering = chunk.steering ?? steering;
      if (piece === "") continue;
      firstTokenMs ??= elapsed();
      text += piece;
      yield { kind: "text", text: piece };
    }
    if (finishReason === null) throw this.#failed("it ended its answer half-way");
    const { id, label, kind, model, template, system } = this;
    const hashes = new Map(weights?.vectors.map(({ name, fingerprint }) => [name, fingerprint]));
    yield {
      kind: "end",
      side: {
        ...{
          contestant: id,
          label,
          kind,
          model,
          template,
          system,
          systemFingerprint,
          steering,
          firstTokenMs,
          finishReason,
        },
        adapter: steering?.adapter ?? null,
        weightsHash: weights?.fingerprint ?? null,
        adapterHash: weights?.adapters.find(({ name }) => name === steering?.adapter)?.fingerprint ?? null,
        vectorHashes: steering?.vectors?.map(({ name }) => ({ name, hash: hashes.get(name) ?? "" })) ?? null,
        text: storableText(text),
        promptTokens: usage?.prompt_tokens ?? null,
        completionTokens: usage?.completion_tokens ?? null,
        totalMs: elapsed(),
      },
    };
  }

  async *#chunks(question: Question, signal: AbortSignal): AsyncGenerator<Chunk, void, undefined> {
    const { controller: stop, unlink } = linkedAbort(signal);
    let isSilent = false;
    const giveUp = () => {
      isSilent = true;
      stop.abort();
    };
    const timer = this.#own === null ? setTimeout(giveUp, silenceMs) : null;
    try {
      const response = await (this.#own ?? globalThis).fetch(this.#request(question, stop.signal));
      if (!response.ok || response.body === null) {
        throw this.#failed(
          `it answered ${response.status}: ${errorText(await response.text()) ?? response.statusText}`,
        );
      }
      const arrived: string[] = [];
      const parser = createParser({ onEvent: ({ data }) => arrived.push(data) });
      const decoder = new TextDecoder();
      for await (const bytes of response.body) {
        timer?.refresh();
        parser.feed(decoder.decode(bytes as Uint8Array, { stream: true }));
        for (const data of arrived.splice(0)) {
          if (data === "[DONE]") continue;
          const chunk = chunkSchema.safeParse(jsonOf(data));
          if (!chunk.success) throw this.#failed("it sent what is no chunk of an answer");
          if (chunk.data.error !== undefined) throw this.#failureOf(chunk.data.error, data);
          yield chunk.data;
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      if (isSilent) throw this.#failed(`it was silent for ${silenceMs / 1000} seconds`);
      throw this.#own !== null || error instanceof ToastError ? error : this.#failed(failureText(error), error);
    } finally {
      clearTimeout(timer ?? undefined);
      unlink();
      stop.abort();
    }
  }

  #request(question: Question, signal: AbortSignal): Request {
    return new Request(`${this.#url}/${this.template === null ? "chat/completions" : "completions"}`, {
      method: "POST",
      redirect: "error",
      signal,
      headers: {
        "content-type": "application/json",
        ...(this.#apiKey === null ? {} : { authorization: `Bearer ${this.#apiKey}` }),
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
        ...(this.steering === null ? {} : { steering: this.steering }),
      }),
    });
  }

  #prompt({ messages: asked }: Question): object {
    const messages = this.system === null ? asked : openedBy(this.system, asked);
    if (this.template === null) return { messages };
    // The other server's tokenizer brings its own BOS.
    const template = new ChatTemplate(builtinTemplates[this.template], { bosToken: "", eosToken: "</s>" });
    return {
      prompt: template.render(messages, { addGenerationPrompt: true }),
      stop: turnStarts[this.template],
    };
  }

  /** An error in the stream: this server's own as it would have been thrown, another's in its words. */
  #failureOf(error: unknown, data: string): ToastError {
    const own = ownError.safeParse(error);
    if (this.#own === null || !own.success) return this.#failed(`it said: ${errorText(data) ?? "an error"}`);
    const { code, message, param } = own.data;
    // Only codes that the server has of its own errors, and the one it has for what is none of them.
    return new ToastError(code === "internal_error" ? "engine_failed" : (code as ErrorCode), message, { param });
  }

  #failed(what: string, cause?: unknown): ToastError {
    return new ToastError("contestant_failed", `${this.id} could not answer: ${what.slice(0, 500)}.`, { cause });
  }
}

/** A conversation's own system message, which templates take one of, follows the contestant's in the same message. */
function openedBy(system: string, messages: readonly ArenaMessage[]): readonly ArenaMessage[] {
  const [first, ...rest] = messages;
  if (first?.role !== "system") return [{ role: "system", content: system }, ...messages];
  return [{ role: "system", content: `${system}\n\n${first.content}` }, ...rest];
}

/** A whole answer at once. */
export async function completeAnswer(
  contestant: Contestant,
  question: Question,
  signal: AbortSignal,
): Promise<BattleSide> {
  for await (const event of contestant.ask(question, signal)) {
    if (event.kind === "end") return event.side;
  }
  throw new Error(`${contestant.id} ended without an end.`);
}
