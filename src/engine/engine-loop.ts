import { setImmediate as nextTurn } from "node:timers/promises";
import { type ErrorData, ToastError } from "../errors.js";
import type { Decoder, RowResult } from "../model/decoder.js";
import { blocksOf } from "../model/kv-cache.js";
import { type LogProbabilities, logProbabilities } from "../sampling/log-probabilities.js";
import { Sampler } from "../sampling/sampler.js";
import { layerGains } from "../steering/layer-gains.js";
import type { Tokenizer } from "../text/tokenizer.js";
import { canStart, type EngineLimits } from "./admission.js";
import { Feedback, type PlannedWork } from "./feedback.js";
import type { EngineStatus, FinishReason, TokenReport, Usage } from "./messages.js";
import { PromptReport } from "./prompt-report.js";
import { planStep } from "./scheduler.js";
import {
  type AdmittedRequest,
  type ChoiceId,
  type Lanes,
  type LoopAdapter,
  RunningSequence,
  Sequence,
} from "./sequence.js";
import { SequencePrefixes } from "./sequence-prefixes.js";
import type { PlannedRow, StepPlan } from "./step-plan.js";
import type { TokenFacts } from "./token-report.js";

/** The parts of the model that the loop drives; scripted in the scheduling tests. */
export type LoopDecoder = Pick<Decoder, "architecture" | "cache" | "step" | "graphMs">;

export interface EngineParts {
  readonly decoder: LoopDecoder;
  /** By the `adapter` of requests' steering: a name, or the key of one version of it (see AdapterSet). A live view. */
  readonly adapters: ReadonlyMap<string, LoopAdapter>;
  readonly tokenizer: Tokenizer;
  readonly eosIds: ReadonlySet<number>;
  readonly limits: EngineLimits;
}

/** Told of what happens to each choice of a request, in order. */
export interface LoopListener {
  /** The request leaves the queue, for the first time. */
  started(choice: ChoiceId, queueMs: number): void;
  /** Before any delta of a request that wants to know of its prompt. */
  prompt(requestId: string, reports: readonly TokenReport[]): void;
  delta(choice: ChoiceId, text: string, tokens: number, reports: readonly TokenReport[]): void;
  finished(choice: ChoiceId, reason: FinishReason, usage: Usage): void;
  errored(choice: ChoiceId, error: ErrorData): void;
}

interface ComputedRow extends PlannedWork {
  readonly result: RowResult;
}

/**
 * The life of admitted requests: waits → runs (lanes allocated) → finished (lanes released). One `step` is one forward. When memory
 * runs out, the youngest running sequence gives its lanes back and waits again; it loses time, not text.
 * Runs in the engine worker; knows nothing of threads, messages or HTTP.
 */
export class EngineLoop {
  readonly #parts: EngineParts;
  readonly #listener: LoopListener;
  readonly #sampler: Sampler;
  readonly #prefixes: SequencePrefixes;
  readonly #feedback: Feedback;
  readonly #waiting: Sequence[] = [];
  /** In the order in which they started. */
  readonly #running = new Map<string, RunningSequence>();
  /** Asked to stop while a forward may be using their lanes; done with before the next one. */
  readonly #toCancel = new Set<string>();
  #previousPhase: StepPlan["phase"] = "decode";
  #forwards = 0;
  #prefillForwards = 0;
  readonly #rows = { bottomUp: 0, steered: 0 };
  readonly #drafts = { proposed: 0, accepted: 0 };
  readonly #prefixTokens = { queried: 0, hit: 0 };
  #preemptions = 0;
  #stepMs = 0;
  /** Of adapters that are gone. */
  #pastAdapterMs = 0;
  #busy = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(parts: EngineParts, listener: LoopListener) {
    this.#parts = parts;
    this.#listener = listener;
    this.#sampler = new Sampler(parts.decoder.architecture.vocabSize);
    this.#prefixes = new SequencePrefixes(parts.decoder.cache, parts.limits);
    this.#feedback = new Feedback(parts.decoder.architecture);
  }

  /** @throws ToastError `server_overloaded` when too many wait already */
  add(request: AdmittedRequest): void {
    const {
      limits: { maxWaiting },
      tokenizer,
      eosIds,
    } = this.#parts;
    if (this.#waiting.length >= maxWaiting) {
      throw new ToastError("server_overloaded", `${maxWaiting} requests are already waiting. Try again in a moment.`);
    }
    const [first, ...followers] = Array.from(
      { length: request.choices },
      (_, choice) => new Sequence(request, choice, tokenizer, eosIds),
    );
    if (first === undefined) throw new Error("a request has one choice at least");
    first.followers = followers;
    const { promptLogprobs, explain } = request.report;
    if (promptLogprobs !== null || explain) first.promptReport = new PromptReport(request.promptIds, request.report);
    this.#waiting.push(first);
    if (!this.#busy) {
      this.#busy = true;
      this.#ended = this.#runUntilIdle();
    }
  }

  /** Takes effect before the next forward; unknown and finished ids are ignored. */
  cancel(requestId: string): void {
    const isOf = (sequence: Sequence) => sequence.request.requestId === requestId;
    for (const sequence of this.#waiting.filter(isOf)) {
      this.#waiting.splice(this.#waiting.indexOf(sequence), 1);
      this.#tellCancelled(sequence);
    }
    if ([...this.#running.values()].some(({ sequence }) => isOf(sequence))) this.#toCancel.add(requestId);
  }

  /** Whether a waiting or running sequence is steered by the adapter of this key. */
  usesAdapter(key: string): boolean {
    const isSteered = ({ request: { steering } }: Sequence) => steering.kind === "steered" && steering.adapter === key;
    return this.#waiting.some(isSteered) || [...this.#running.values()].some(({ sequence }) => isSteered(sequence));
  }

  /** Drops what is kept of an adapter that nobody uses and nobody will: its key never comes back. */
  forgetAdapter(key: string): void {
    this.#pastAdapterMs += this.#parts.adapters.get(key)?.graphMs ?? 0;
    this.#prefixes.forgetAdapter(key);
  }

  /** Cancels everything. @returns once no forward runs any more: only then may the thread end. */
  async close(): Promise<void> {
    const all = [...this.#waiting, ...[...this.#running.values()].map(({ sequence }) => sequence)];
    for (const { request } of all) this.cancel(request.requestId);
    await this.#ended;
  }

  status(): EngineStatus {
    const { cache } = this.#parts.decoder;
    const lanesExpected = [...this.#running.values()].reduce((sum, { allLanes }) => sum + allLanes.length, 0);
    const violations = cache.violations();
    if (cache.lanesInUse !== lanesExpected) {
      violations.push(`${cache.lanesInUse} lanes are allocated, the running sequences have ${lanesExpected}`);
    }
    return {
      waiting: this.#waiting.length,
      running: this.#running.size,
      lanesInUse: cache.lanesInUse,
      cacheBytes: cache.blocksInUse * cache.blockBytes,
      prefixBytes: this.#prefixes.bytes,
      cacheLimitBytes: this.#parts.limits.cacheBytes,
      forwards: this.#forwards,
      prefillForwards: this.#prefillForwards,
      rows: { ...this.#rows },
      drafts: { ...this.#drafts },
      prefixTokens: { ...this.#prefixTokens },
      preemptions: this.#preemptions,
      time: { graphMs: this.#graphMs(), stepMs: this.#stepMs },
      violations,
    };
  }

  #graphMs(): number {
    const { decoder, adapters } = this.#parts;
    return [...adapters.values()].reduce(
      (sum, adapter) => sum + adapter.graphMs,
      decoder.graphMs + this.#pastAdapterMs,
    );
  }

  async #runUntilIdle(): Promise<void> {
    for (;;) {
      // Gives commands that arrived during the last forward their turn: a cancelled request is not stepped again.
      await nextTurn();
      const startedAt = performance.now();
      this.#cancelMarked();
      this.#start();
      const plan = this.#planWithRoom();
      if (plan === null) break;
      await this.#step(plan);
      this.#previousPhase = plan.phase;
      this.#stepMs += performance.now() - startedAt;
    }
    this.#busy = false;
  }

  #cancelMarked(): void {
    for (const running of [...this.#running.values()]) {
      if (!this.#toCancel.has(running.sequence.request.requestId)) continue;
      const { followers } = running.sequence;
      running.sequence.followers = [];
      this.#finish(running, "cancelled");
      for (const follower of followers) this.#tellCancelled(follower);
    }
    this.#toCancel.clear();
  }

  /** Of a sequence that has no lanes. */
  #tellCancelled(sequence: Sequence): void {
    sequence.matcher?.dispose();
    this.#listener.finished(sequence.choiceId, "cancelled", usageOf(sequence));
    for (const follower of sequence.followers) this.#tellCancelled(follower);
  }

  #start(): void {
    for (;;) {
      const sequence = this.#waiting[0];
      if (sequence === undefined || !this.#hasRoomFor(sequence)) return;
      this.#waiting.shift();
      const reused = this.#prefixes.restore(this.#run(sequence));
      // One that was preempted has been counted.
      if (sequence.cachedTokens !== null) continue;
      sequence.cachedTokens = reused;
      this.#listener.started(sequence.choiceId, performance.now() - sequence.queuedAt);
      this.#prefixTokens.queried += sequence.tokenIds.length;
      this.#prefixTokens.hit += reused;
    }
  }

  #hasRoomFor({ laneCount, tokenIds }: Sequence): boolean {
    const { cache } = this.#parts.decoder;
    const claimed = cache.blocksInUse + cache.lanesInUse;
    const occupancy = { running: this.#running.size, claimedBytes: claimed * cache.blockBytes };
    const needed = laneCount * blocksOf(tokenIds.length + 1) * cache.blockBytes;
    return canStart(occupancy, needed, this.#parts.limits);
  }

  #run(sequence: Sequence): RunningSequence {
    const { hiddenSize } = this.#parts.decoder.architecture;
    const running = new RunningSequence(sequence, this.#allocate(sequence.request), hiddenSize);
    this.#running.set(sequence.id, running);
    return running;
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
          draft: null,
        };
      }
    }
  }

  /**
   * The next plan whose new tokens there is room for. What the prefix cache holds gives way first, then the youngest sequences; a
   * sequence alone may take what it needs.
   */
  #planWithRoom(): StepPlan | null {
    for (;;) {
      const views = [...this.#running.values()].map((running) => running.view());
      const plan = planStep(views, this.#parts.limits, this.#previousPhase);
      if (plan === null) return null;
      const { cache } = this.#parts.decoder;
      const missing = plan.rows.reduce(
        (sum, row) => sum + cache.blocksMissing(this.#runningOf(row.sequenceId).lane(row), row.count),
        0,
      );
      const left = this.#parts.limits.cacheBytes - (cache.blocksInUse + missing) * cache.blockBytes;
      this.#prefixes.shrinkTo(Math.max(0, left));
      if (left >= 0 || missing === 0 || this.#running.size === 1) return plan;
      this.#preempt();
    }
  }

  #preempt(): void {
    const youngest = [...this.#running.values()].at(-1);
    if (youngest === undefined) throw new Error("there is nobody to preempt");
    this.#release(youngest);
    this.#waiting.unshift(youngest.sequence);
    this.#preemptions++;
  }

  /**
   * One forward. Then, in this order: tokens of the rows that ended in a steered (or plain) prediction; drafts accepted or taken
   * back; new drafts.
   */
  async #step(plan: StepPlan): Promise<void> {
    const { vocabSize } = this.#parts.decoder.architecture;
    const planned = plan.rows.map((row) => ({ row, running: this.#runningOf(row.sequenceId) }));
    try {
      const fedBack = await this.#feedback.of(planned);
      const results = await this.#parts.decoder.step(
        planned.map(({ row, running }, index) => running.decoderRow(row, fedBack[index]?.topDown ?? null)),
      );
      this.#forwards++;
      if (plan.phase === "prefill") this.#prefillForwards++;
      const computed: ComputedRow[] = [];
      for (const [index, { row, running }] of planned.entries()) {
        const result = results[index];
        if (result === undefined) throw new Error("a step has one result for each row");
        this.#rows[row.lane]++;
        if ("hiddenStates" in result) running.hiddenStates.set(row.from, result.hiddenStates);
        running.noteSteering(row.from, fedBack[index]?.steering ?? []);
        computed.push({ row, running, result });
      }
      for (const { row, running, result } of computed) {
        const decides = running.lanes.kind === "plain" || row.lane === "steered";
        if (!decides || !("logits" in result)) continue;
        this.#noteLogits(running, row.from, result.logits);
        if (row.from + row.count < running.sequence.tokenIds.length || !this.#runs(running)) continue;
        await this.#feedback.explainRestored(running, this.#parts.limits.chunkTokens);
        this.#nextToken(running, result.logits.subarray(-vocabSize));
      }
      for (const { row, running, result } of computed) {
        if (row.lane === "bottomUp" && "logits" in result && this.#stands(row, running)) {
          this.#draft(running, result.logits);
        }
      }
    } catch (cause) {
      const error = asError(cause).toData();
      for (const { running } of planned) this.#fail(running, error);
    }
  }

  /** Whether a computed bottom-up row still counts: its sequence goes on, and the token in it was the right one. */
  #stands(row: PlannedRow, running: RunningSequence): boolean {
    return this.#runs(running) && running.lanes.bottomUp.computed >= row.from + row.count;
  }

  #runs(running: RunningSequence): boolean {
    return this.#running.get(running.id) === running;
  }

  /** @param logits float32 [T,V] of a deciding row's tokens from `from` on, or [1,V] of its last. */
  #noteLogits(running: RunningSequence, from: number, logits: Float32Array): void {
    try {
      running.sequence.promptReport?.addLogits(from, logits, this.#parts.decoder.architecture.vocabSize);
    } catch (cause) {
      this.#fail(running, asError(cause).toData());
    }
  }

  #nextToken(running: RunningSequence, logits: Float32Array): void {
    const { request, choiceId, sampling, tokenIds, rules, matcher, output } = running.sequence;
    if (request.maxTokens === 0) {
      this.#finishPrompt(running);
      return;
    }
    let tokenId: number;
    let likelihood: LogProbabilities | null = null;
    try {
      tokenId = this.#sampler.sample(logits, sampling, tokenIds.length, rules);
      const { logprobs } = request.report;
      if (logprobs !== null) likelihood = logProbabilities(logits, tokenId, logprobs);
    } catch (cause) {
      // Logits that cannot be sampled from are this sequence's trouble alone.
      this.#fail(running, asError(cause).toData());
      return;
    }
    if (output.tokens === 0) {
      this.#tellPrompt(running.sequence);
      // The prompt is computed: whoever comes with the same one need not wait for this answer's end.
      this.#prefixes.remember(running);
      this.#startFollowers(running, logits);
    }
    tokenIds.push(tokenId);
    let place: "within" | "last" = "within";
    try {
      rules.append(tokenId);
      // The next token's mask says so; it is computed once, and needed next in any case.
      if (matcher?.isComplete === true) place = "last";
    } catch (cause) {
      this.#fail(running, asError(cause).toData());
      return;
    }
    const draft = this.#settleDraft(running.lanes, tokenId);
    const { logprob, top } = likelihood ?? { logprob: null, top: [] };
    const isAsked = likelihood !== null || request.report.explain;
    const facts: TokenFacts | null = isAsked ? { logprob, top, steering: running.lastSteering, draft } : null;
    const { text, tokens, reports, finished } = output.push(tokenId, facts, place);
    if (text !== "" || reports.length > 0) this.#listener.delta(choiceId, text, tokens, reports);
    if (finished !== null) this.#finish(running, finished);
  }

  /**
   * Gives the prompt's lanes to the other choices of a request, each a copy, and draws their first tokens from the same logits. Who
   * does not fit now waits first in line.
   */
  #startFollowers(leader: RunningSequence, logits: Float32Array): void {
    const { followers, request, cachedTokens } = leader.sequence;
    leader.sequence.followers = [];
    const { cache } = this.#parts.decoder;
    const prompt = request.promptIds.length;
    const waiting: Sequence[] = [];
    for (const sequence of followers) {
      sequence.cachedTokens = cachedTokens;
      if (!this.#hasRoomFor(sequence)) {
        waiting.push(sequence);
        continue;
      }
      const running = this.#run(sequence);
      for (const [index, lane] of leader.allLanes.entries()) {
        const own = running.allLanes[index];
        if (own !== undefined) cache.copyIn(own, cache.copyOut(lane, 0, prompt), prompt, prompt);
      }
      running.hiddenStates.set(0, leader.hiddenStates.view(0, prompt));
      running.lastSteering = leader.lastSteering;
      this.#nextToken(running, logits);
    }
    this.#waiting.unshift(...waiting);
  }

  /** Keeps the bottom-up row of a draft that came true, takes that of any other back. */
  #settleDraft(lanes: Lanes, tokenId: number): TokenReport["draft"] {
    if (lanes.kind === "plain" || lanes.draft === null) return "none";
    const isRight = lanes.draft === tokenId;
    if (isRight) this.#drafts.accepted++;
    else this.#parts.decoder.cache.rollBack(lanes.bottomUp, 1);
    lanes.draft = null;
    return isRight ? "accepted" : "refused";
  }

  /**
   * Guesses the next token from the bottom-up pass, which has seen all tokens that are known. Drawn as the steered pass will draw
   * it, with the same noise of that position, so that the two agree wherever their logits nearly do.
   * @see docs/architecture.md, "Draft ahead"
   */
  #draft({ lanes, sequence }: RunningSequence, logits: Float32Array): void {
    const { request, sampling, tokenIds, rules, endIds, output } = sequence;
    // The token that is sampled next ends the text if it is the last one: nothing comes after it that could be ahead.
    if (lanes.kind === "plain" || output.tokens + 1 >= request.maxTokens) return;
    const draft = this.#sampler.sample(logits, sampling, tokenIds.length, rules);
    if (endIds.has(draft)) return;
    lanes.draft = draft;
    this.#drafts.proposed++;
  }

  #tellPrompt(sequence: Sequence): void {
    const { promptReport, request } = sequence;
    if (promptReport === null) return;
    sequence.promptReport = null;
    this.#listener.prompt(request.requestId, promptReport.reports(this.#parts.tokenizer));
  }

  /** Of a request for no tokens: what there is to tell is told, of each choice. */
  #finishPrompt(leader: RunningSequence): void {
    const { followers, cachedTokens } = leader.sequence;
    leader.sequence.followers = [];
    this.#tellPrompt(leader.sequence);
    this.#finish(leader, "length");
    for (const follower of followers) {
      follower.cachedTokens = cachedTokens;
      follower.matcher?.dispose();
      this.#listener.finished(follower.choiceId, "length", usageOf(follower));
    }
  }

  #finish(running: RunningSequence, reason: FinishReason): void {
    this.#prefixes.remember(running);
    this.#release(running);
    running.sequence.matcher?.dispose();
    this.#listener.finished(running.sequence.choiceId, reason, usageOf(running.sequence));
  }

  #fail(running: RunningSequence, error: ErrorData): void {
    if (!this.#runs(running)) return;
    this.#release(running);
    running.sequence.matcher?.dispose();
    // A request fails as a whole: its other choices are cancelled by whoever is told.
    this.#waiting.unshift(...running.sequence.followers);
    this.#listener.errored(running.sequence.choiceId, error);
  }

  #release(running: RunningSequence): void {
    this.#running.delete(running.id);
    for (const lane of running.allLanes) this.#parts.decoder.cache.release(lane);
  }

  #runningOf(id: string): RunningSequence {
    const running = this.#running.get(id);
    if (running === undefined) throw new Error(`the plan names sequence ${id}, which is not running`);
    return running;
  }
}

function usageOf({ request, output, cachedTokens }: Sequence): Usage {
  return {
    promptTokens: request.promptIds.length,
    cachedTokens: cachedTokens ?? 0,
    completionTokens: output.tokens,
  };
}

function asError(cause: unknown): ToastError {
  if (cause instanceof ToastError) return cause;
  return new ToastError("engine_failed", cause instanceof Error ? cause.message : String(cause), { cause });
}
