import type { Engine, EnginePhase, FinishReason, Generation, GenerationEvent } from "../../src/engine/engine.js";
import type { EngineStatus } from "../../src/engine/engine-status.js";
import type { GenerationRequest } from "../../src/engine/generation-request.js";
import type { ModelInfo } from "../../src/engine/model-info.js";
import type { TextAnswers, TextQuestion } from "../../src/engine/text-questions.js";
import { ToastError } from "../../src/errors.js";
import { noPresentation } from "../../src/model/manifest.js";
import { vectorsOf } from "../../src/steering/steering.js";

export const scriptedModel: ModelInfo = {
  id: "tiny",
  layers: 4,
  hiddenSize: 8,
  contextLength: 64,
  vocabSize: 100,
  quantization: "none",
  sampling: {},
  licence: "MIT",
  fingerprint: "b".repeat(16),
  adapters: [
    {
      name: "alpaca",
      stage: "tuned",
      licence: "CC-BY-NC-4.0",
      presentation: noPresentation,
      fingerprint: "a".repeat(16),
    },
    { name: "poet", stage: "pretuned", licence: null, presentation: noPresentation, fingerprint: "c".repeat(16) },
  ],
  vectors: [
    { name: "happy", layers: [1, 2], fingerprint: "d".repeat(12) },
    { name: "formal", layers: [0, 3], fingerprint: "e".repeat(12) },
  ],
};

/** What the engine does with the next requests. */
export interface Script {
  /** One delta each; default: an echo of how the request is steered. */
  readonly texts?: readonly string[];
  /** Milliseconds before each event; Infinity: never. */
  readonly delayMs?: number;
  /** Resolves before the first event. */
  readonly until?: Promise<void>;
  readonly reason?: FinishReason;
  /** It stays in the queue. */
  readonly startsNever?: true;
  /** Thrown by `generate`. */
  readonly rejection?: ToastError;
  /** Thrown in place of the event of this number. */
  readonly failure?: { readonly at: number; readonly error: Error };
}

/** An engine that says what a test tells it to: for the failures and timings that no real one has on demand. */
export class ScriptedEngine implements Engine {
  phase: EnginePhase;
  script: Script = {};
  readonly requests: GenerationRequest[] = [];
  /** Requests whose signal was aborted before their end. */
  cancelled = 0;
  running = 0;
  /** Events handed out so far. */
  eventsRead = 0;

  constructor(model: ModelInfo = scriptedModel, phase: EnginePhase = { kind: "ready", model }) {
    this.phase = phase;
  }

  async generate(request: GenerationRequest, signal: AbortSignal): Promise<Generation> {
    this.requests.push(request);
    const { script } = this;
    if (script.rejection !== undefined) {
      throw script.rejection;
    }
    const words = request.prompt.kind === "chat" ? request.prompt.messages.flatMap((m) => m.content.split(" ")) : [];
    if (words.length > scriptedModel.contextLength) {
      const message = `The prompt has ${words.length} tokens; the context holds ${scriptedModel.contextLength}.`;
      throw new ToastError("context_length_exceeded", message, { field: "prompt" });
    }
    await Promise.resolve();
    const started = script.startsNever === true ? new Promise<number>(() => {}) : Promise.resolve(5);
    return { promptTokens: words.length, started, events: this.#playAll(request, script, words.length, signal) };
  }

  inspect(): Promise<EngineStatus> {
    const { running } = this;
    const forwards = this.eventsRead;
    const rows = { bottomUp: 0, steered: 0 };
    const drafts = { proposed: 0, accepted: 0 };
    return Promise.resolve({
      waiting: 0,
      running,
      lanesInUse: running,
      cacheBytes: 0,
      prefixBytes: 0,
      cacheLimitBytes: 1_000_000,
      cacheBlocks: { count: 10, tokens: 128 },
      forwards,
      prefillForwards: 0,
      rows,
      drafts,
      guesses: { proposed: 0, accepted: 0 },
      prefixTokens: { queried: 0, hit: 0 },
      preemptions: 0,
      time: { graphMs: 0, stepMs: 0 },
      violations: [],
    });
  }

  /** Its tokenizer's tokens are words, its template writes roles and texts. */
  ask<Question extends TextQuestion>(question: Question): Promise<TextAnswers[Question["kind"]]> {
    const asked: TextQuestion = question;
    const answer = ((): TextAnswers[keyof TextAnswers] => {
      switch (asked.kind) {
        case "encode": {
          const pieces = asked.prompt.kind === "text" ? asked.prompt.text.split(" ") : [];
          return { ids: pieces.map((_, at) => at), pieces };
        }
        case "decode":
          return { text: asked.ids.map((id) => `t${id}`).join(" ") };
        case "render":
          return { text: asked.prompt.messages.map(({ role, content }) => `${role}: ${content}`).join("\n") };
        case "describe":
          return { vocabSize: 100, bosToken: null, eosTokens: [], chatTemplate: null };
      }
    })();
    return Promise.resolve(answer as TextAnswers[Question["kind"]]);
  }

  close(): Promise<void> {
    this.phase = { kind: "closed" };
    return Promise.resolve();
  }

  /** One choice after the other, all alike. */
  async *#playAll(
    request: GenerationRequest,
    script: Script,
    promptTokens: number,
    signal: AbortSignal,
  ): AsyncGenerator<GenerationEvent> {
    for (let choice = 0; choice < request.choices; choice++) {
      for await (const event of this.#play(request, script, promptTokens, signal)) {
        yield event.kind === "prompt" ? event : { ...event, choice };
      }
    }
  }

  async *#play(
    request: GenerationRequest,
    script: Script,
    promptTokens: number,
    signal: AbortSignal,
  ): AsyncGenerator<GenerationEvent> {
    this.running += 1;
    let said = 0;
    const onAbort = () => {
      this.cancelled += 1;
    };
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) {
      onAbort();
    }
    const usage = () => ({ promptTokens, cachedTokens: 0, completionTokens: said });
    try {
      await script.until;
      for (const [at, text] of textsOf(script, request).entries()) {
        if (script.delayMs !== undefined) {
          await sleep(script.delayMs, signal);
        }
        if (signal.aborted) {
          if (signal.reason instanceof ToastError) throw signal.reason;
          yield { kind: "finished", choice: 0, reason: "cancelled", usage: usage() };
          return;
        }
        if (script.failure?.at === at) {
          throw script.failure.error;
        }
        if (request.maxTokens !== null && said >= request.maxTokens) {
          const vector = new Float32Array(scriptedModel.hiddenSize).fill(scriptedModel.hiddenSize ** -0.5);
          const pooled = request.pooling === undefined ? {} : { pooled: vector };
          yield { kind: "finished", choice: 0, reason: "length", usage: usage(), ...pooled };
          return;
        }
        said += 1;
        this.eventsRead += 1;
        yield { kind: "delta", choice: 0, text, tokens: 1, reports: [] };
      }
      yield { kind: "finished", choice: 0, reason: script.reason ?? "stop", usage: usage() };
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.running -= 1;
    }
  }
}

function textsOf(script: Script, request: GenerationRequest): readonly string[] {
  if (script.texts !== undefined) return script.texts;
  const { steering } = request;
  const vectors = vectorsOf(steering).map(({ name, strength }) => ` ${strength} ${name}`);
  return ["I", " am", steering.kind === "steered" ? ` ${steering.adapter}` : " plain", ...vectors];
}

/** Ends early when the request is cancelled, as the worker does. */
function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", wake);
      resolve();
    };
    const timer = Number.isFinite(milliseconds) ? setTimeout(wake, milliseconds) : undefined;
    signal.addEventListener("abort", wake);
    if (signal.aborted) {
      wake();
    }
  });
}
