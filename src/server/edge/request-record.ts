import { AsyncLocalStorage } from "node:async_hooks";
import type { FinishReason } from "../../engine/engine.js";
import type { GenerationRequest } from "../../engine/generation-request.js";
import type { KeyRole } from "./key-ring.js";

/** Who sent a request. `id` tells callers apart for limits. */
export type Caller =
  | { readonly kind: "key"; readonly id: string; readonly name: string; readonly role: KeyRole }
  | { readonly kind: "address"; readonly id: string };

/** One generation of a request, as far as it has come. Times are of `performance.now()`. */
export interface GenerationFacts {
  /** `base`, or `base:adapter` when it is steered, whatever id the client asked by. */
  readonly modelName: string;
  /** Id of the model that generates. */
  readonly baseId: string;
  readonly request: GenerationRequest;
  readonly begunAt: number;
  promptTokens: number;
  cachedTokens: number;
  /** Of the choices that have ended. */
  completionTokens: number;
  /** Of all choices, so far. */
  streamedTokens: number;
  /** Null while it waits. */
  startedAt: number | null;
  firstTokenAt: number | null;
  endedAt: number | null;
  /** Of each choice that has ended. */
  readonly reasons: FinishReason[];
  /** Kept for the log only when it is to have prompts and answers. */
  text: string | null;
}

/** One HTTP request and all that became of it: what metrics, log and traces are made from. */
export interface RequestRecord {
  readonly id: string;
  readonly method: string;
  /** W3C `traceparent` and `tracestate`, as sent. */
  readonly traceHeaders: Readonly<Record<string, string>>;
  /** On the clock of `performance.now()`. */
  readonly arrivedAt: number;
  caller: Caller | null;
  /** The pattern that matched, never the path itself: paths can be anything. */
  route: string;
  /** 499, nginx's word for it, when the client left before there was a status. */
  status: number;
  errorCode: string | null;
  endedAt: number;
  readonly generations: GenerationFacts[];
}

const storage = new AsyncLocalStorage<RequestRecord>();

/** Runs the handlers of a request; whatever they call finds its record by {@link currentRecord}. */
export function withRecord<Result>(record: RequestRecord, run: () => Result): Result {
  return storage.run(record, run);
}

/** The record of the request on whose behalf this code runs; null outside of any. */
export function currentRecord(): RequestRecord | null {
  return storage.getStore() ?? null;
}
