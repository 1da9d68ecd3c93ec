import { setImmediate as nextTurn } from "node:timers/promises";
import { ToastError } from "../../errors.js";
import type { RowResult } from "../../model/decoder.js";
import type { FinalNorm } from "../../model/final-norm.js";
import { blockTokens } from "../../model/kv-cache.js";
import { logProbabilities } from "../../sampling/log-probabilities.js";
import { Sampler } from "../../sampling/sampler.js";
import { Feedback } from "../../steering/feedback.js";
import type { Tokenizer } from "../../text/tokenizer.js";
import type { FinishReason, Usage } from "../engine.js";
import type { EngineStatus } from "../engine-status.js";
import type { ProcessedToken } from "../output/output-processor.js";
import type { TokenReport } from "../token-report.js";
import type { AdmittedRequest } from "./admission.js";
import { FairTurns, mayWait, yieldsTo } from "./fair-turns.js";
import { LoopCounters } from "./loop-counters.js";
import { type ChoiceId, RequestGroup, type Sequence } from "./request-group.js";
import type { RunningSequence } from "./running-sequence.js";
import { type RunningParts, RunningSet } from "./running-set.js";
import type { PlannedRow, StepPlan } from "./step-plan.js";

export interface EngineParts extends RunningParts {
  readonly tokenizer: Tokenizer;
  readonly eosIds: ReadonlySet<number>;
  readonly finalNorm: Pick<FinalNorm, "of">;
}

/** Hears what happens to each choice of a request, in order. */
export interface LoopListener {
  /** The request leaves the queue, for the first time. */
  started(requestId: string, queueMs: number): void;
  /** Before any delta of a request that wants to know of its prompt. */
  prompt(requestId: string, reports: readonly TokenReport[], tokenIds: readonly number[] | null): void;
  /** Before the end of a request that looks into the model: float32 [L,D], as the residual stream is kept. */
  layerMeans(requestId: string, means: Float32Array): void;
  delta(
    choice: ChoiceId,
    text: string,
    tokens: number,
    reports: readonly TokenReport[],
    tokenIds: readonly number[],
  ): void;
  /** @param pooled float32 [D], of a request with `pooling` that came to its end; null of any other. */
  finished(choice: ChoiceId, reason: FinishReason, usage: Usage, pooled: Float32Array | null): void;
  /** The request has failed, and with it all its choices that had not finished. */
  errored(requestId: string, error: ToastError): void;
}

/** Two forwards decide about guesses behind an adapter, and a wrong one costs what it took: one is not worth it. */
const fewestGuesses = 2;

/** Spent between two forwards on grammars that hold tokens. */
const heldMsInTurn = 10;

/** How choices end. One finishes by itself; a request is cancelled, and fails, as a whole. */
type Outcome =
  | { readonly kind: "finished"; readonly sequence: Sequence; readonly reason: "stop" | "length" }
  | { readonly kind: "cancelled" }
  | { readonly kind: "failed"; readonly cause: unknown };

interface ComputedRow {
  readonly row: PlannedRow;
  readonly running: RunningSequence;
  readonly result: RowResult;
}

/**
 * The life of admitted requests: waits → runs (lanes allocated) → ends (lanes released). One `step` is one forward.
 * When memory runs out, and when somebody waits who has less than others, a running sequence gives its lanes back and
 * waits again; it loses time, not text.
 * Runs in the engine worker; knows nothing of threads, messages or HTTP.
 */
export class EngineLoop {
  readonly #parts: EngineParts;
  readonly #listener: LoopListener;
  readonly #sampler: Sampler;
  readonly #feedback: Feedback;
  /** By request id: those with choices that have not ended. */
  readonly #groups = new Map<string, RequestGroup>();
  readonly #waiting: Sequence[] = [];
  readonly #turns = new FairTurns();
  readonly #running: RunningSet;
  /** Asked to stop while a forward may be using their lanes; ended before the next one. */
  readonly #toCancel = new Set<RequestGroup>();
  /** Those whose last token is held by their grammar, in turns. */
  readonly #held = new Set<Sequence>();
  readonly #counters = new LoopCounters();
  #previousPhase: StepPlan["phase"] = "decode";
  /** Of adapters that are gone. */
  #pastAdapterMs = 0;
  #busy = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(parts: EngineParts, listener: LoopListener) {
    this.#parts = parts;
    this.#listener = listener;
    this.#sampler = new Sampler(parts.decoder.architecture.vocabSize);
    this.#feedback = new Feedback(parts.decoder.architecture);
    this.#running = new RunningSet(parts);
  }

  /** @throws ToastError `server_overloaded` when too many wait already */
  add(request: AdmittedRequest): void {
    const { limits, tokenizer, eosIds, finalNorm } = this.#parts;
    if (!mayWait(this.#waiting, { caller: request.caller ?? "" }, limits.maxWaiting)) {
      const message = `${this.#waiting.length} requests are already waiting. Try again in a moment.`;
      throw new ToastError("server_overloaded", message);
    }
    const group = new RequestGroup(request, tokenizer, eosIds, finalNorm);
    this.#groups.set(group.id, group);
    this.#waiting.push(group.first);
    if (this.#busy) return;
    this.#busy = true;
    this.#ended = this.#runUntilIdle();
  }

  /** Takes effect before the next forward; unknown and finished ids are ignored. */
  cancel(requestId: string): void {
    const group = this.#groups.get(requestId);
    if (group === undefined) return;
    const mayCompute = [...group.open].some((sequence) => this.#running.find(sequence) !== undefined);
    if (mayCompute) this.#toCancel.add(group);
    else this.#end(group, { kind: "cancelled" });
  }

  /** Whether a request that has not ended is steered by the adapter of this key. */
  usesAdapter(key: string): boolean {
    return [...this.#groups.values()].some(
      ({ request: { steering } }) => steering.kind === "steered" && steering.adapter === key,
    );
  }

  /** Drops what is kept of an adapter that nobody uses and nobody will: its key never comes back. */
  forgetAdapter(key: string): void {
    this.#pastAdapterMs += this.#parts.adapters.get(key)?.graphMs ?? 0;
    this.#running.forgetAdapter(key);
  }

  /** Cancels everything. @returns once no forward runs any more: only then may the thread end. */
  async close(): Promise<void> {
    for (const requestId of [...this.#groups.keys()]) this.cancel(requestId);
    await this.#ended;
  }

  status(): EngineStatus {
    const { decoder, adapters, limits } = this.#parts;
    const { cache } = decoder;
    const adapterMs = [...adapters.values()].reduce((sum, { graphMs }) => sum + graphMs, this.#pastAdapterMs);
    return {
      waiting: this.#waiting.length,
      running: this.#running.size,
      lanesInUse: cache.lanesInUse,
      cacheBytes: cache.blocksInUse * cache.blockBytes,
      prefixBytes: this.#running.prefixBytes,
      cacheLimitBytes: limits.cacheBytes,
      cacheBlocks: { count: Math.floor(limits.cacheBytes / cache.blockBytes), tokens: blockTokens },
      ...this.#counters.status(decoder.graphMs + adapterMs),
      violations: this.#running.violations(),
    };
  }

  async #runUntilIdle(): Promise<void> {
    for (;;) {
      // Gives commands that arrived during the last forward their turn: a cancelled request is not stepped again.
      await nextTurn();
      const startedAt = performance.now();
      for (const group of this.#toCancel) this.#end(group, { kind: "cancelled" });
      this.#toCancel.clear();
      this.#goOn();
      this.#start();
      if ((await this.#step()) === "idle" && this.#held.size === 0) break;
      this.#counters.step(performance.now() - startedAt);
    }
    this.#busy = false;
  }

  /** Looks on for what follows tokens that are held, for a while: streams are kept waiting no longer than that. */
  #goOn(): void {
    const until = performance.now() + heldMsInTurn;
    for (const sequence of [...this.#held]) {
      const left = until - performance.now();
      if (left <= 0) return;
      this.#held.delete(sequence);
      try {
        this.#processed(sequence, sequence.goOn(left));
      } catch (cause) {
        this.#end(sequence.group, { kind: "failed", cause });
      }
    }
  }

  /** Lets those that wait run, in fair turns, as far as there is room or somebody has more than his share. */
  #start(): void {
    while (this.#waiting.length > 0) {
      const sequence = this.#turns.next(this.#waiting, this.#running.sequences);
      const running = sequence === null ? null : this.#startOrMakeRoom(sequence);
      if (running === null) return;
      this.#waiting.splice(this.#waiting.indexOf(running.sequence), 1);
      this.#turns.took(running.sequence);
      const reused = this.#running.restore(running);
      const { group, tokenIds } = running.sequence;
      // One that was preempted, or follows another choice, has been counted.
      if (group.cachedTokens !== null) continue;
      group.cachedTokens = reused;
      this.#listener.started(group.id, performance.now() - group.queuedAt);
      this.#counters.prefixLookup(tokenIds.length, reused);
    }
  }

  #startOrMakeRoom(sequence: Sequence): RunningSequence | null {
    for (;;) {
      const running = this.#running.start(sequence);
      if (running !== null) return running;
      const yielding = yieldsTo(sequence, this.#running.sequences);
      const its = yielding === null ? undefined : this.#running.find(yielding);
      if (yielding === null || its === undefined) return null;
      // What it has computed is kept as far as there is room, so that it need not be computed again.
      this.#running.remember(its);
      this.#running.release(its);
      this.#preempted(yielding);
    }
  }

  /** One forward: plan → feed back → forward → settle. */
  async #step(): Promise<"stepped" | "idle"> {
    const plan = this.#running.plan(this.#previousPhase, (sequence) => this.#preempted(sequence));
    if (plan === null) return "idle";
    this.#previousPhase = plan.phase;
    const planned = plan.rows.map((row) => ({ row, running: this.#running.get(row.sequenceId) }));
    try {
      const fedBack = await this.#feedback.of(planned.map(({ row, running }) => running.feedbackMember(row)));
      const results = await this.#parts.decoder.step(
        planned.map(({ row, running }, index) => running.decoderRow(row, fedBack[index]?.topDown ?? null)),
      );
      this.#counters.forward(plan);
      const computed = planned.map(({ row, running }, index) => {
        const result = results[index];
        if (result === undefined) throw new Error("a step has one result for each row");
        running.record(row, result, fedBack[index] ?? null);
        return { row, running, result };
      });
      await this.#settle(computed);
    } catch (cause) {
      for (const { running } of planned) this.#end(running.sequence.group, { kind: "failed", cause });
    }
    return "stepped";
  }

  #preempted(sequence: Sequence): void {
    this.#waiting.unshift(sequence);
    this.#counters.preemption();
  }

  /** Tokens first, which accept drafts or take them back; then new drafts. */
  async #settle(computed: readonly ComputedRow[]): Promise<void> {
    const withLogits = computed.filter(({ row }) => row.logits !== "none");
    for (const { row, running, result } of withLogits) {
      if (row.lane !== running.sampledLane) continue;
      await this.#attempt(running, () => this.#readLogits(running, row, result.logits));
    }
    for (const { row, running, result } of withLogits) {
      if (row.lane === running.sampledLane) continue;
      await this.#attempt(running, () => this.#draft(running, row, result.logits));
    }
  }

  /** What goes wrong with one sequence, if it still runs, is its request's trouble alone. */
  async #attempt(running: RunningSequence, action: () => void | Promise<void>): Promise<void> {
    if (!this.#running.has(running)) return;
    try {
      await action();
    } catch (cause) {
      this.#end(running.sequence.group, { kind: "failed", cause });
    }
  }

  /** @param logits float32 [T,V] of all tokens of a row of the sampled lane, or [1,V] of its last. */
  async #readLogits(
    running: RunningSequence,
    { from, count, guesses }: PlannedRow,
    logits: Float32Array,
  ): Promise<void> {
    const { vocabSize } = this.#parts.decoder.architecture;
    const { group, tokenIds } = running.sequence;
    group.promptReport?.addLogits(from, logits, vocabSize);
    if (from + count < tokenIds.length) return;
    await running.explainRestored(this.#feedback, this.#parts.limits.chunkTokens);
    if (group.request.maxTokens === 0) this.#finishPrompt(group);
    else if (guesses) this.#nextTokens(running, logits);
    else this.#nextToken(running, logits.subarray(-vocabSize));
    if (this.#running.has(running)) this.#guess(running);
  }

  /**
   * The token behind the known ones, and those behind guesses as long as they come true.
   * @param logits float32 [1+G,V] of the last known token and of G guesses
   */
  #nextTokens(running: RunningSequence, logits: Float32Array): void {
    const { vocabSize } = this.#parts.decoder.architecture;
    const { guesses, sequence } = running;
    running.guesses = [];
    let right = 0;
    for (let token = 0; token <= guesses.length; token++) {
      const guess = guesses[token] ?? null;
      this.#nextToken(running, logits.subarray(token * vocabSize, (token + 1) * vocabSize), { token, guess });
      if (guess === null || sequence.tokenIds.at(-1) !== guess) break;
      right++;
      if (!this.#running.has(running) || sequence.isHeld) break;
    }
    this.#counters.guesses(guesses.length, right);
    running.textGuesses.settle(right, guesses.length, sequence.tokenIds.length, this.#parts.limits.guesses);
    if (this.#running.has(running)) this.#running.trim(running, sequence.tokenIds.length - 1);
  }

  /**
   * @param logits float32 [V]
   * @param at which of the row's tokens they are of, and what was guessed to follow it; absent: the last, nothing
   */
  #nextToken(
    running: RunningSequence,
    logits: Float32Array,
    at: { readonly token: number; readonly guess: number | null } = { token: -1, guess: null },
  ): void {
    const { sequence } = running;
    const { group, request, output } = sequence;
    const tokenId = this.#sample(sequence, logits);
    const { logprobs } = request.report;
    const likelihood = logprobs === null ? null : logProbabilities(logits, tokenId, logprobs);
    if (output.tokens === 0) {
      this.#emitPrompt(group);
      // The prompt is computed: whoever comes with the same one need not wait for this text's end.
      this.#running.remember(running);
      this.#startFollowers(running, logits);
    }
    const processed = sequence.push(tokenId, likelihood, {
      steering: running.lastSteering.at(at.token) ?? null,
      vectors: running.lastVectors.at(at.token) ?? [],
      draft: at.guess === null ? this.#settleDraft(running, tokenId) : at.guess === tokenId ? "accepted" : "refused",
    });
    this.#processed(sequence, processed);
  }

  /** @param processed null: its grammar takes more time. */
  #processed(sequence: Sequence, processed: ProcessedToken | null): void {
    if (processed === null) {
      this.#held.add(sequence);
      return;
    }
    const { text, tokens, reports, ids, finished } = processed;
    if (text !== "" || reports.length > 0 || ids.length > 0) {
      this.#listener.delta(sequence.choiceId, text, tokens, reports, ids);
    }
    if (finished !== null) this.#end(sequence.group, { kind: "finished", sequence, reason: finished });
  }

  /** Guesses how the text goes on, where that costs nobody anything. */
  #guess(running: RunningSequence): void {
    if (this.#waiting.length > 0 || running.sequence.isHeld) return;
    const room = this.#running.roomForGuesses(running);
    if (room < fewestGuesses) return;
    running.guesses = running.textGuesses.next(running.sequence.tokenIds, room);
  }

  #sample({ sampling, tokenIds, rules }: Sequence, logits: Float32Array): number {
    return this.#sampler.sample(logits, sampling, tokenIds.length, rules);
  }

  /**
   * Gives the prompt's lanes to the other choices of a request, each a copy, and draws their first tokens from the same
   * logits. Who does not fit now waits, ahead of what came later.
   */
  #startFollowers(first: RunningSequence, logits: Float32Array): void {
    const waiting: Sequence[] = [];
    for (const sequence of first.sequence.group.takeFollowers()) {
      const running = this.#running.start(sequence);
      if (running === null) {
        waiting.push(sequence);
        continue;
      }
      this.#turns.took(sequence);
      this.#running.copyPrompt(first, running);
      this.#nextToken(running, logits);
    }
    this.#waiting.unshift(...waiting);
  }

  /** Keeps the bottom-up row of a draft that came true, takes that of any other back. */
  #settleDraft({ lanes }: RunningSequence, tokenId: number): TokenReport["draft"] {
    if (lanes.kind !== "steered" || lanes.draft === null) return "none";
    const isRight = lanes.draft === tokenId;
    if (isRight) this.#counters.draft("accepted");
    else this.#parts.decoder.cache.rollBack(lanes.bottomUp, 1);
    lanes.draft = null;
    return isRight ? "accepted" : "refused";
  }

  /**
   * Guesses the next token from the bottom-up pass, which has seen all tokens that are known. Drawn as the steered pass
   * will draw it, with the same noise of that position, so that the two agree wherever their logits nearly do.
   * @see docs/architecture.md, "Draft ahead"
   */
  #draft({ lanes, sequence, guesses }: RunningSequence, { from, count }: PlannedRow, logits: Float32Array): void {
    const { request, endIds, output } = sequence;
    // A row that was a wrong draft's has been taken back.
    if (lanes.kind !== "steered" || lanes.bottomUp.computed < from + count || guesses.length > 0) return;
    if (sequence.isHeld) return;
    // The token that is sampled next ends the text if it is the last one: nothing comes after it that could be ahead.
    if (output.tokens + 1 >= request.maxTokens) return;
    const draft = this.#sample(sequence, logits);
    if (endIds.has(draft)) return;
    lanes.draft = draft;
    this.#counters.draft("proposed");
  }

  #emitPrompt(group: RequestGroup): void {
    const report = group.takePromptReport();
    const ids = group.takePromptIds();
    if (report === null && ids === null) return;
    this.#listener.prompt(group.id, report?.reports(this.#parts.tokenizer) ?? [], ids);
  }

  /** Of a request for no tokens: the prompt is all that there is. */
  #finishPrompt(group: RequestGroup): void {
    this.#emitPrompt(group);
    const means = group.layerMeans?.mean() ?? null;
    if (means !== null) this.#listener.layerMeans(group.id, means);
    for (const sequence of [...group.open]) this.#end(group, { kind: "finished", sequence, reason: "length" });
  }

  /** The one way out: whatever a choice still has, it gives back, then whoever waits for it hears how it ended. */
  #end(group: RequestGroup, outcome: Outcome): void {
    const ended = outcome.kind === "finished" ? [outcome.sequence] : [...group.open];
    if (ended.length === 0) return;
    for (const sequence of ended) {
      group.open.delete(sequence);
      const running = this.#running.find(sequence);
      const waitsAt = this.#waiting.indexOf(sequence);
      if (waitsAt !== -1) this.#waiting.splice(waitsAt, 1);
      // Texts that are only looked at come by the thousand, and seldom again: they would drive out what chats keep.
      if (running !== undefined && outcome.kind !== "failed" && group.pooled === null) {
        // Of guesses only what came true is kept.
        this.#running.trim(running, sequence.tokenIds.length);
        this.#running.remember(running);
      }
      if (running !== undefined) this.#running.release(running);
      this.#held.delete(sequence);
      sequence.dispose();
    }
    if (group.open.size === 0) this.#groups.delete(group.id);
    if (outcome.kind === "failed") this.#listener.errored(group.id, ToastError.from(outcome.cause));
    else {
      const reason = outcome.kind === "finished" ? outcome.reason : "cancelled";
      const pooled = outcome.kind === "finished" && group.pooled !== null ? group.pooled.unit() : null;
      for (const { choiceId, usage } of ended) this.#listener.finished(choiceId, reason, usage, pooled);
    }
  }
}
