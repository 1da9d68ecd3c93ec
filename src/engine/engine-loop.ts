import { setImmediate as nextTurn } from "node:timers/promises";
import { type ErrorData, ToastError } from "../errors.js";
import type { Adapter, TopDown } from "../model/adapter.js";
import type { Decoder, DecoderRow, RowResult } from "../model/decoder.js";
import type { Lane } from "../model/kv-cache.js";
import { Sampler } from "../sampling/sampler.js";
import { TokenHistory } from "../sampling/token-history.js";
import { layerGains } from "../steering/layer-gains.js";
import type { Tokenizer } from "../text/tokenizer.js";
import { canStart, type EngineLimits, type Reservation } from "./admission.js";
import type { EngineStatus, FinishReason, GenerationRequest } from "./messages.js";
import { OutputProcessor } from "./output-processor.js";
import { planStep, type SequenceView } from "./scheduler.js";
import type { PlannedRow, StepPlan } from "./step-plan.js";

/** The parts of the model that the loop drives; scripted in the scheduling tests. */
export type LoopDecoder = Pick<Decoder, "architecture" | "cache" | "step" | "graphMs">;
export type LoopAdapter = Pick<Adapter, "topDown" | "graphMs">;

export interface EngineParts {
  readonly decoder: LoopDecoder;
  readonly adapters: ReadonlyMap<string, LoopAdapter>;
  readonly tokenizer: Tokenizer;
  readonly eosIds: ReadonlySet<number>;
  readonly limits: EngineLimits;
}

/** A request whose prompt is tokenized and fits the context. */
export interface AdmittedRequest {
  readonly id: string;
  readonly promptIds: readonly number[];
  /** Ids that the answer's text goes on from; empty for an answer that is a text of its own (see IncrementalDetokenizer). */
  readonly textContext: readonly number[];
  readonly maxTokens: number;
  readonly steering: GenerationRequest["steering"];
  readonly sampling: GenerationRequest["sampling"];
  readonly stopStrings: readonly string[];
  readonly ignoreEos: boolean;
}

/** Told of what happens to requests, in order for each of them. */
export interface LoopListener {
  delta(requestId: string, text: string, tokens: number): void;
  finished(requestId: string, reason: FinishReason, usage: { promptTokens: number; completionTokens: number }): void;
  errored(requestId: string, error: ErrorData): void;
}

/** A plain sequence has one lane, a steered one two; there is no third way. */
type Lanes =
  | { readonly kind: "plain"; readonly bottomUp: Lane }
  | {
      readonly kind: "steered";
      readonly bottomUp: Lane;
      readonly steered: Lane;
      readonly adapter: LoopAdapter;
      /** float32 [L] */
      readonly gains: Float32Array;
      /** Top-down values of the tokens that the bottom-up lane is ahead by, float32 [L,T,kv]. */
      pending: Float32Array | null;
      /** A guess of the next token, whose bottom-up row goes along with the steered row that decides about it. */
      draft: number | null;
    };

type SteeredLanes = Extract<Lanes, { kind: "steered" }>;

interface Sequence {
  readonly request: AdmittedRequest;
  readonly lanes: Lanes;
  readonly tokenIds: number[];
  readonly history: TokenHistory;
  readonly output: OutputProcessor;
}

const none: ReadonlySet<number> = new Set();

interface ComputedRow {
  readonly row: PlannedRow;
  readonly sequence: Sequence;
  readonly result: RowResult;
}

/**
 * The life of admitted requests: waits → runs (lanes allocated) → finished (lanes released). One `step` is one forward.
 * Runs in the engine worker; knows nothing of threads, messages or HTTP.
 */
export class EngineLoop {
  readonly #parts: EngineParts;
  readonly #listener: LoopListener;
  readonly #sampler: Sampler;
  readonly #waiting: AdmittedRequest[] = [];
  readonly #running = new Map<string, Sequence>();
  /** Asked to stop while a forward may be using their lanes; done with before the next one. */
  readonly #toCancel = new Set<string>();
  #previousPhase: StepPlan["phase"] = "decode";
  #forwards = 0;
  readonly #rows = { bottomUp: 0, steered: 0 };
  readonly #drafts = { proposed: 0, accepted: 0 };
  #stepMs = 0;
  #busy = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(parts: EngineParts, listener: LoopListener) {
    this.#parts = parts;
    this.#listener = listener;
    this.#sampler = new Sampler(parts.decoder.architecture.vocabSize);
  }

  /** @throws ToastError `server_overloaded` when too many wait already */
  add(request: AdmittedRequest): void {
    const { maxWaiting } = this.#parts.limits;
    if (this.#waiting.length >= maxWaiting) {
      throw new ToastError("server_overloaded", `${maxWaiting} requests are already waiting. Try again in a moment.`);
    }
    this.#waiting.push(request);
    if (!this.#busy) {
      this.#busy = true;
      this.#ended = this.#runUntilIdle();
    }
  }

  /** Takes effect before the next forward; unknown and finished ids are ignored. */
  cancel(requestId: string): void {
    const index = this.#waiting.findIndex((request) => request.id === requestId);
    const waiting = this.#waiting[index];
    if (waiting !== undefined) {
      this.#waiting.splice(index, 1);
      this.#listener.finished(requestId, "cancelled", { promptTokens: waiting.promptIds.length, completionTokens: 0 });
      return;
    }
    if (this.#running.has(requestId)) this.#toCancel.add(requestId);
  }

  /** Cancels everything. @returns once no forward runs any more: only then may the thread end. */
  async close(): Promise<void> {
    for (const { id } of [...this.#waiting]) this.cancel(id);
    for (const id of this.#running.keys()) this.#toCancel.add(id);
    await this.#ended;
  }

  status(): EngineStatus {
    const { cache } = this.#parts.decoder;
    const lanesExpected = [...this.#running.values()].reduce(
      (sum, { lanes }) => sum + (lanes.kind === "plain" ? 1 : 2),
      0,
    );
    const violations = cache.violations();
    if (cache.lanesInUse !== lanesExpected) {
      violations.push(`${cache.lanesInUse} lanes are allocated, the running sequences have ${lanesExpected}`);
    }
    return {
      waiting: this.#waiting.length,
      running: this.#running.size,
      lanesInUse: cache.lanesInUse,
      cacheBytes: cache.bytes,
      forwards: this.#forwards,
      rows: { ...this.#rows },
      drafts: { ...this.#drafts },
      time: { graphMs: this.#graphMs(), stepMs: this.#stepMs },
      violations,
    };
  }

  #graphMs(): number {
    const { decoder, adapters } = this.#parts;
    return [...adapters.values()].reduce((sum, adapter) => sum + adapter.graphMs, decoder.graphMs);
  }

  async #runUntilIdle(): Promise<void> {
    for (;;) {
      // Gives commands that arrived during the last forward their turn: a cancelled request is not stepped again.
      await nextTurn();
      const startedAt = performance.now();
      this.#cancelMarked();
      this.#start();
      const plan = planStep([...this.#running.values()].map(viewOf), this.#parts.limits, this.#previousPhase);
      if (plan === null) break;
      await this.#step(plan);
      this.#previousPhase = plan.phase;
      this.#stepMs += performance.now() - startedAt;
    }
    this.#busy = false;
  }

  #cancelMarked(): void {
    for (const requestId of this.#toCancel) {
      const sequence = this.#running.get(requestId);
      if (sequence !== undefined) this.#finish(sequence, "cancelled");
    }
    this.#toCancel.clear();
  }

  #start(): void {
    for (;;) {
      const request = this.#waiting[0];
      if (request === undefined) return;
      const running = [...this.#running.values()].map((sequence) => reservationOf(sequence.request));
      const { cache } = this.#parts.decoder;
      if (!canStart(running, reservationOf(request), this.#parts.limits, (tokens) => cache.laneBytes(tokens))) return;
      this.#waiting.shift();
      this.#running.set(request.id, {
        request,
        lanes: this.#allocate(request),
        tokenIds: [...request.promptIds],
        history: new TokenHistory(request.promptIds),
        output: new OutputProcessor(this.#parts.tokenizer, request, this.#eosIdsOf(request)),
      });
    }
  }

  #allocate({ steering }: AdmittedRequest): Lanes {
    const { cache, architecture } = this.#parts.decoder;
    switch (steering.kind) {
      case "plain":
        return { kind: "plain", bottomUp: cache.allocate("bottomUp") };
      case "steered": {
        const adapter = this.#parts.adapters.get(steering.adapter);
        if (adapter === undefined) throw new Error(`adapter ${steering.adapter} was admitted but is not loaded`);
        return {
          kind: "steered",
          bottomUp: cache.allocate("bottomUp"),
          steered: cache.allocate("steered"),
          adapter,
          gains: layerGains(steering, architecture.layers),
          pending: null,
          draft: null,
        };
      }
    }
  }

  /**
   * One forward. Then, in this order: tokens of the rows that ended in a steered (or plain) prediction; drafts accepted or taken
   * back; top-down values for the steered rows to come; new drafts.
   */
  async #step(plan: StepPlan): Promise<void> {
    const planned = plan.rows.map((row) => ({ row, sequence: this.#sequence(row.sequenceId) }));
    try {
      const results = await this.#parts.decoder.step(planned.map(({ row, sequence }) => decoderRow(row, sequence)));
      this.#forwards++;
      const computed: ComputedRow[] = [];
      for (const [index, { row, sequence }] of planned.entries()) {
        const result = results[index];
        if (result === undefined) throw new Error("a step has one result for each row");
        this.#rows[row.lane]++;
        if (row.lane === "steered") clearPending(sequence);
        computed.push({ row, sequence, result });
      }
      for (const { sequence, result } of computed) {
        if (result.output === "logits") this.#nextToken(sequence, result.logits);
      }
      const standing = computed.filter((row) => this.#stands(row));
      await this.#feedBack(standing);
      for (const { sequence, result } of standing) {
        if (result.output === "hiddenStatesAndLogits") this.#draft(sequence, result.logits);
      }
    } catch (cause) {
      const error = asError(cause).toData();
      for (const { sequence } of planned) this.#fail(sequence, error);
    }
  }

  /** Whether a computed row still counts: its sequence goes on, and the token in it was the right one. */
  #stands({ row, sequence }: ComputedRow): boolean {
    const { lanes } = sequence;
    if (!this.#runs(sequence)) return false;
    return row.lane === "steered" || lanes.bottomUp.computed >= row.from + row.count;
  }

  #eosIdsOf({ ignoreEos }: AdmittedRequest): ReadonlySet<number> {
    return ignoreEos ? none : this.#parts.eosIds;
  }

  #runs(sequence: Sequence): boolean {
    return this.#running.get(sequence.request.id) === sequence;
  }

  /** Turns hidden states of bottom-up rows into the top-down values that their steered rows wait for; one run an adapter. */
  async #feedBack(rows: readonly ComputedRow[]): Promise<void> {
    const groups = new Map<LoopAdapter, { lanes: SteeredLanes; hiddenStates: Float32Array }[]>();
    for (const { sequence, result } of rows) {
      if (!("hiddenStates" in result) || sequence.lanes.kind !== "steered") continue;
      const group = groups.get(sequence.lanes.adapter) ?? [];
      group.push({ lanes: sequence.lanes, hiddenStates: result.hiddenStates });
      groups.set(sequence.lanes.adapter, group);
    }
    const { layers, hiddenSize, kvHeads, headDim } = this.#parts.decoder.architecture;
    for (const [adapter, group] of groups) {
      const tokens = group.map(({ hiddenStates }) => hiddenStates.length / hiddenSize);
      const total = tokens.reduce((sum, count) => sum + count, 0);
      const hiddenStates = new Float32Array(total * hiddenSize);
      const gains = new Float32Array(total * layers);
      let token = 0;
      for (const [index, member] of group.entries()) {
        hiddenStates.set(member.hiddenStates, token * hiddenSize);
        for (let end = token + (tokens[index] ?? 0); token < end; token++)
          gains.set(member.lanes.gains, token * layers);
      }
      const topDown = await adapter.topDown(hiddenStates, gains);
      let from = 0;
      for (const [index, member] of group.entries()) {
        const count = tokens[index] ?? 0;
        member.lanes.pending = slice(topDown, layers, kvHeads * headDim, total, from, count);
        from += count;
      }
    }
  }

  #nextToken(sequence: Sequence, logits: Float32Array): void {
    const { request, tokenIds, history, output } = sequence;
    let tokenId: number;
    try {
      tokenId = this.#sampler.sample(logits, request.sampling, tokenIds.length, history);
    } catch (cause) {
      // Logits that cannot be sampled from are this sequence's trouble alone.
      this.#fail(sequence, asError(cause).toData());
      return;
    }
    tokenIds.push(tokenId);
    history.append(tokenId);
    this.#settleDraft(sequence, tokenId);
    const { text, tokens, finished } = output.push(tokenId);
    if (text !== "") this.#listener.delta(request.id, text, tokens);
    if (finished !== null) this.#finish(sequence, finished);
  }

  /** Keeps the bottom-up row of a draft that came true, takes that of any other back. */
  #settleDraft({ lanes }: Sequence, tokenId: number): void {
    if (lanes.kind === "plain" || lanes.draft === null) return;
    if (lanes.draft === tokenId) this.#drafts.accepted++;
    else this.#parts.decoder.cache.rollBack(lanes.bottomUp, 1);
    lanes.draft = null;
  }

  /**
   * Guesses the next token from the bottom-up pass, which has seen all tokens that are known. Drawn as the steered pass will draw
   * it, with the same noise of that position, so that the two agree wherever their logits nearly do.
   * @see docs/architecture.md, "Draft ahead"
   */
  #draft(sequence: Sequence, logits: Float32Array): void {
    const { request, lanes, tokenIds, history, output } = sequence;
    // The token that is sampled next ends the text if it is the last one: nothing comes after it that could be ahead.
    if (lanes.kind === "plain" || output.tokens + 1 >= request.maxTokens) return;
    const draft = this.#sampler.sample(logits, request.sampling, tokenIds.length, history);
    if (this.#eosIdsOf(request).has(draft)) return;
    lanes.draft = draft;
    this.#drafts.proposed++;
  }

  #finish(sequence: Sequence, reason: FinishReason): void {
    const { request, output } = sequence;
    this.#release(sequence);
    this.#listener.finished(request.id, reason, {
      promptTokens: request.promptIds.length,
      completionTokens: output.tokens,
    });
  }

  #fail(sequence: Sequence, error: ErrorData): void {
    if (!this.#runs(sequence)) return;
    this.#release(sequence);
    this.#listener.errored(sequence.request.id, error);
  }

  #release({ request, lanes }: Sequence): void {
    this.#running.delete(request.id);
    const { cache } = this.#parts.decoder;
    cache.release(lanes.bottomUp);
    if (lanes.kind === "steered") cache.release(lanes.steered);
  }

  #sequence(id: string): Sequence {
    const sequence = this.#running.get(id);
    if (sequence === undefined) throw new Error(`the plan names sequence ${id}, which is not running`);
    return sequence;
  }
}

function viewOf({ request, lanes, tokenIds }: Sequence): SequenceView {
  return {
    id: request.id,
    tokens: tokenIds.length,
    bottomUp: lanes.bottomUp.computed,
    steered:
      lanes.kind === "plain"
        ? { kind: "plain" }
        : { kind: "steered", computed: lanes.steered.computed, draft: lanes.draft === null ? "none" : "waiting" },
  };
}

function reservationOf(request: AdmittedRequest): Reservation {
  return {
    lanes: request.steering.kind === "plain" ? 1 : 2,
    tokens: request.promptIds.length + request.maxTokens,
  };
}

function decoderRow(row: PlannedRow, { lanes, tokenIds }: Sequence): DecoderRow {
  const known = tokenIds.slice(row.from, row.from + row.count);
  const draft = lanes.kind === "steered" && known.length < row.count ? lanes.draft : null;
  const shared = { tokenIds: draft === null ? known : [...known, draft], output: row.output };
  if (row.lane === "bottomUp") return { pass: "bottomUp", lane: lanes.bottomUp, ...shared };
  if (lanes.kind === "plain" || lanes.pending === null) {
    throw new Error(`sequence ${row.sequenceId} has no top-down values for its steered row`);
  }
  return { pass: "steered", lane: lanes.steered, topDownValues: lanes.pending, ...shared };
}

function clearPending({ lanes }: Sequence): void {
  if (lanes.kind === "steered") lanes.pending = null;
}

/** Tokens `from` … `from + count − 1` of [L,N,kv], as [L,count,kv]; the array itself when that is all of it. */
function slice(
  { topDownValues }: TopDown,
  layers: number,
  kvSize: number,
  total: number,
  from: number,
  count: number,
): Float32Array {
  if (count === total) return topDownValues;
  const part = new Float32Array(layers * count * kvSize);
  for (let layer = 0; layer < layers; layer++) {
    const start = (layer * total + from) * kvSize;
    part.set(topDownValues.subarray(start, start + count * kvSize), layer * count * kvSize);
  }
  return part;
}

function asError(cause: unknown): ToastError {
  if (cause instanceof ToastError) return cause;
  return new ToastError("engine_failed", cause instanceof Error ? cause.message : String(cause), { cause });
}
