import type { ErrorData } from "../../errors.js";
import type { ControlVector } from "../../steering/control-vector.js";
import type { Steering } from "../../steering/steering.js";
import type { GenerationEvent } from "../engine.js";
import type { EngineStatus } from "../engine-status.js";
import type { GenerationRequest } from "../generation-request.js";
import type { AdapterInfo, ModelInfo, VectorInfo } from "../model-info.js";
import type { TextAnswers, TextQuestion } from "../text-questions.js";

/** HTTP thread → engine worker. */
export type EngineCommand =
  | {
      readonly kind: "generate";
      readonly requestId: string;
      readonly request: GenerationRequest;
      readonly fingerprints: SteeringFingerprints;
    }
  | { readonly kind: "cancel"; readonly requestId: string }
  | { readonly kind: "call"; readonly callId: number; readonly call: EngineCall }
  | { readonly kind: "shutdown" };

/**
 * Of the adapter and the control vectors that the response will name: one that has replaced another meanwhile must not
 * answer in its place.
 */
export interface SteeringFingerprints {
  readonly adapter: string | null;
  /** By name. */
  readonly vectors: ReadonlyMap<string, string>;
}

/** What the HTTP thread asks for and waits for; each call has one `reply` or `refusal`. */
export type EngineCall =
  | { readonly kind: "inspect" }
  | { readonly kind: "loadAdapter"; readonly adapter: AdapterToLoad }
  | { readonly kind: "unloadAdapter"; readonly name: string }
  | { readonly kind: "addVector"; readonly vector: ControlVector; readonly mode: AdapterToLoad["mode"] }
  | { readonly kind: "removeVector"; readonly name: string }
  | ({ readonly kind: "layerOutputs" } & LayerOutputsCall)
  | ({ readonly kind: "ask" } & QuestionCall);

/** A question; cancelled as a request is. `caller`: whose turns it takes. */
export interface QuestionCall {
  readonly requestId: string;
  readonly caller: string;
  readonly question: TextQuestion;
}

/** One prompt's layer outputs; cancelled as a request is. */
export interface LayerOutputsCall {
  readonly requestId: string;
  readonly promptIds: readonly number[];
  /** Mean over so many of its last tokens. */
  readonly lastTokens: number;
  readonly steering: Steering;
}

/** Null: done as it was asked for. Numbers: a prompt's layer outputs, [L,D]. */
export type EngineReply = EngineStatus | TextAnswers[keyof TextAnswers] | Float32Array | null;

/** A converted adapter folder that is to be served while the engine runs. */
export interface AdapterToLoad {
  /** Served as `<base>:<name>`, whatever the folder or its manifest is called. */
  readonly name: string;
  readonly folder: string;
  /**
   * What becomes of an adapter that has the name: `add` is refused then, `replace` lets it end with the requests that
   * use it.
   */
  readonly mode: "add" | "replace";
}

/** Engine worker → HTTP thread. */
export type EngineEvent =
  | { readonly kind: "loading"; readonly stage: string; readonly fraction: number }
  /** While it loads: an adapter of the folder that cannot be used. */
  | { readonly kind: "leftOut"; readonly adapter: string; readonly error: ErrorData }
  | { readonly kind: "ready"; readonly model: ModelInfo }
  /** The engine cannot go on (loading failed, or the native run failed). */
  | { readonly kind: "failed"; readonly error: ErrorData }
  | { readonly kind: "accepted"; readonly requestId: string; readonly promptTokens: number }
  /** Once for each request: its first choice has its lanes. */
  | { readonly kind: "started"; readonly requestId: string; readonly queueMs: number }
  /** Before any token: a bad prompt, a template that failed, a context too small. */
  | { readonly kind: "rejected"; readonly requestId: string; readonly error: ErrorData }
  | (GenerationEvent & { readonly requestId: string })
  /** After `accepted`: this request alone cannot go on, none of its choices. */
  | { readonly kind: "errored"; readonly requestId: string; readonly error: ErrorData }
  /** The adapters from now on, changed by the call; always before that call's reply. */
  | { readonly kind: "adapters"; readonly callId: number; readonly adapters: readonly AdapterInfo[] }
  /** The control vectors from now on; always before the reply to the call that changed them. */
  | { readonly kind: "vectors"; readonly vectors: readonly VectorInfo[] }
  | { readonly kind: "reply"; readonly callId: number; readonly reply: EngineReply }
  | { readonly kind: "refusal"; readonly callId: number; readonly error: ErrorData };
