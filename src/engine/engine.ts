import type { ControlVector } from "../steering/control-vector.js";
import type { Steering } from "../steering/steering.js";
import type { EngineStatus } from "./engine-status.js";
import type { GenerationRequest } from "./generation-request.js";
import type { ModelInfo } from "./model-info.js";
import type { TextAnswers, TextQuestion } from "./text-questions.js";
import type { TokenReport } from "./token-report.js";

/** `cancelled`: the client went away or asked to stop; its text is not wanted any more. */
export type FinishReason = "stop" | "length" | "cancelled";

/** Of one choice. */
export interface Usage {
  readonly promptTokens: number;
  /** Tokens of the prompt that no lane of this request had to compute: the prefix cache had them. */
  readonly cachedTokens: number;
  /** Tokens really sampled, the end-of-sequence token included. */
  readonly completionTokens: number;
}

/**
 * Events of a running generation, in order for each choice: any number of `delta`, then one `finished`; reports of the
 * prompt before all.
 */
export type GenerationEvent =
  | {
      readonly kind: "delta";
      readonly choice: number;
      readonly text: string;
      readonly tokens: number;
      /**
       * Of the tokens whose last byte `text` has, when the request asked for reports; else empty. Without text: of
       * tokens without any.
       */
      readonly reports: readonly TokenReport[];
      /**
       * Of all tokens that were sampled since the last delta, when the request asked for ids. Without text: at the end,
       * of what ended it and of what a stop string cut off.
       */
      readonly tokenIds?: readonly number[];
    }
  /** Once, before the first delta, when a report of the prompt was asked for, or its ids. */
  | { readonly kind: "prompt"; readonly reports: readonly TokenReport[]; readonly tokenIds?: readonly number[] }
  | {
      readonly kind: "finished";
      readonly choice: number;
      readonly reason: FinishReason;
      readonly usage: Usage;
      /** float32 [D] of length 1, of a request with `pooling` that was not cancelled; absent of any other. */
      readonly pooled?: Float32Array;
    };

export interface Generation {
  readonly promptTokens: number;
  /** Resolves when the request leaves the queue, to the milliseconds that it waited there; never, if it does not. */
  readonly started: Promise<number>;
  /** To be read once. Ends after every choice's `finished`; throws a ToastError when the engine fails half-way. */
  readonly events: AsyncIterable<GenerationEvent>;
}

/** {@link Engine.generate}, or the same with something around it. */
export type Generate = (request: GenerationRequest, signal: AbortSignal) => Promise<Generation>;

/** Whose question it is, where it is somebody's: long ones take turns, and end when nobody waits for them. */
export interface Asking {
  readonly caller: string;
  readonly signal: AbortSignal;
}

/** What requests get to see of an engine. */
export type ServingEngine = Pick<Engine, "generate" | "ask">;

/** Where the engine is in its life. */
export type EnginePhase =
  | { readonly kind: "loading"; readonly stage: string; readonly fraction: number }
  | { readonly kind: "ready"; readonly model: ModelInfo }
  /** It served and stopped, and will serve the same again. */
  | { readonly kind: "restarting"; readonly message: string; readonly model: ModelInfo }
  | {
      readonly kind: "failed";
      readonly message: string;
      /** What it served before; null or absent when it has never been ready. */
      readonly model?: ModelInfo | null;
      /** For the log: it may hold what clients must not see. */
      readonly cause?: Error;
    }
  | { readonly kind: "closed" };

/** @returns what the engine serves, or will again in a moment; null: nothing. */
export function modelIn(phase: EnginePhase): ModelInfo | null {
  return phase.kind === "ready" || phase.kind === "restarting" ? phase.model : null;
}

/** What {@link VectorEngine.layerOutputs} reads, beside the prompts. */
export interface LayerOutputOptions {
  /** Ends the work, within one step. */
  readonly signal: AbortSignal;
  /** Means over so many of each prompt's last tokens, or over all where it has fewer; default 1: the last one alone. */
  readonly lastTokens?: number;
  /** In the pass that decides; default: plain. */
  readonly steering?: Steering;
  readonly onProgress?: (done: number, total: number) => void;
}

/** The engine as control vectors see it: what they are made of, and what is steered by them. */
export interface VectorEngine {
  /**
   * The residual stream behind every layer, in the channels that the model was trained with. Prompts are computed one
   * by one, as requests for no tokens are: running streams take turns with them.
   * @param prompts token ids.
   * @returns for each prompt float32 [L,D].
   * @throws ToastError `invalid_request` for ids that the vocabulary does not have or a `lastTokens` below 1,
   * `context_length_exceeded`, `server_overloaded`; the signal's reason when it aborts.
   */
  layerOutputs(prompts: readonly (readonly number[])[], options: LayerOutputOptions): Promise<readonly Float32Array[]>;
  /**
   * Copied. Requests can name it from now on, and `phase` does.
   * @param mode what becomes of one that has the name: `add` is refused then, `replace` leaves it to the requests that
   * have it.
   * @throws ToastError `invalid_vector`, `vector_exists`
   */
  addVector(vector: ControlVector, mode: "add" | "replace"): Promise<void>;
  /** New requests do not find it any more; those that have it keep it. @throws ToastError `model_not_found` */
  removeVector(name: string): Promise<void>;
}

/** The engine of one model folder, seen from the HTTP thread. Knows nothing of HTTP or of OpenAI's wire format. */
export interface Engine {
  readonly phase: EnginePhase;
  /**
   * Hands a request to the worker.
   * @returns once the prompt is rendered, tokenized and admitted to the queue.
   * @throws ToastError before any token: `context_length_exceeded`, `chat_template_failed`, `server_overloaded` …
   * Aborting `signal` cancels the request within one step; its events then end with `finished: cancelled`, or throw the
   * ToastError that it was aborted with.
   */
  generate(request: GenerationRequest, signal: AbortSignal): Promise<Generation>;
  /**
   * Asks about tokens and templates.
   * @throws ToastError `invalid_request`, `chat_template_missing`, `chat_template_failed`, `server_loading` …; the
   *   signal's reason
   */
  ask<Question extends TextQuestion>(question: Question, asking?: Asking): Promise<TextAnswers[Question["kind"]]>;
  /** Asks the worker what it holds; for health checks and tests. */
  inspect(): Promise<EngineStatus>;
  /** Cancels what runs and ends the worker. */
  close(): Promise<void>;
}
