import type { Decoder } from "../../model/decoder.js";
import { blocksOf } from "../../model/kv-cache.js";
import { layerGains } from "../../steering/layer-gains.js";
import { canStart, type EngineLimits } from "./admission.js";
import { firstToGiveUp, mostCallers } from "./fair-turns.js";
import type { Sequence } from "./request-group.js";
import { type Lanes, type LoopAdapter, RunningSequence } from "./running-sequence.js";
import { planStep } from "./scheduler.js";
import { SequencePrefixes } from "./sequence-prefixes.js";
import type { StepPlan } from "./step-plan.js";

/** The parts of the model that the loop drives; scripted in the scheduling tests. */
export type LoopDecoder = Pick<
  Decoder,
  "architecture" | "cache" | "step" | "takesGuesses" | "resumesChunks" | "graphMs"
>;

export interface RunningParts {
  readonly decoder: LoopDecoder;
  /** By the `adapter` of requests' steering: a name, or the key of one version of it (see AdapterSet). A live view. */
  readonly adapters: ReadonlyMap<string, LoopAdapter>;
  readonly limits: EngineLimits;
}

/** The sequences that hold lanes, and what there is memory for. */
export class RunningSet {
  readonly #parts: RunningParts;
  readonly #prefixes: SequencePrefixes;
  /** In the order in which they started. */
  readonly #running = new Map<string, RunningSequence>();
  /** When each caller last had a piece of a prompt computed, counted in such pieces. */
  readonly #lastChunks = new Map<string, number>();
  #chunks = 0;

  constructor(parts: RunningParts) {
    this.#parts = parts;
    const { cache } = parts.decoder;
    cache.expectBlocks(Math.floor(parts.limits.cacheBytes / cache.blockBytes));
    this.#prefixes = new SequencePrefixes(parts.decoder.cache, parts.limits, parts.decoder.resumesChunks);
  }

  get size(): number {
    return this.#running.size;
  }

  /** Bytes kept for later requests. */
  get prefixBytes(): number {
    return this.#prefixes.bytes;
  }

  /** In the order in which they started. */
  get sequences(): readonly Sequence[] {
    return [...this.#running.values()].map(({ sequence }) => sequence);
  }

  find(sequence: Sequence): RunningSequence | undefined {
    return this.#running.get(sequence.id);
  }

  has(running: RunningSequence): boolean {
    return this.#running.get(running.id) === running;
  }

  /** @returns the sequence with empty lanes; null when there is no room for what it knows now. */
  start(sequence: Sequence): RunningSequence | null {
    if (!this.#hasRoomFor(sequence)) return null;
    const running = new RunningSequence(
      sequence,
      this.#allocate(sequence),
      this.#parts.decoder.architecture.hiddenSize,
    );
    this.#running.set(running.id, running);
    return running;
  }

  /** Fills fresh lanes with what is kept of the sequence's tokens. @returns tokens that no lane computes again. */
  restore(running: RunningSequence): number {
    return this.#prefixes.restore(running);
  }

  /** Fills fresh lanes with the prompt of another choice of the request. */
  copyPrompt(from: RunningSequence, to: RunningSequence): void {
    const { cache } = this.#parts.decoder;
    const tokens = from.sequence.request.promptIds.length;
    for (const [index, lane] of from.allLanes.entries()) {
      const own = to.allLanes[index];
      if (own !== undefined) cache.copyIn(own, cache.copyOut(lane, 0, tokens), tokens, tokens);
    }
    to.hiddenStates.set(0, from.hiddenStates.view(0, tokens));
    to.lastSteering = from.lastSteering;
    to.lastVectors = from.lastVectors;
  }

  /** Keeps what the sequence has computed for later requests that begin with the same tokens. */
  remember(running: RunningSequence): void {
    this.#prefixes.remember(running);
  }

  /** How many guesses the sequence's lanes have room for behind its tokens; 0 where it shares its forwards. */
  roomForGuesses(running: RunningSequence): number {
    const { decoder, limits } = this.#parts;
    if (this.#running.size > 1 || !decoder.takesGuesses) return 0;
    const { tokenIds, request, output } = running.sequence;
    // The token that is known comes first, and the last one wanted is sampled, not guessed.
    const wanted = request.maxTokens - output.tokens - 1;
    const rooms = running.allLanes.map((lane) => {
      return decoder.cache.roomForGuesses(lane) - (tokenIds.length - 1 - lane.computed);
    });
    return Math.max(0, Math.min(limits.guesses, wanted, ...rooms));
  }

  /** Takes back what the sequence's lanes hold behind its first `tokens` tokens. */
  trim({ allLanes }: RunningSequence, tokens: number): void {
    const { cache } = this.#parts.decoder;
    for (const lane of allLanes) if (lane.computed > tokens) cache.rollBack(lane, lane.computed - tokens);
  }

  /** Gives the sequence's lanes back. */
  release(running: RunningSequence): void {
    this.#running.delete(running.id);
    // Who is gone needs no memory of his turns.
    if (this.#running.size === 0) this.#lastChunks.clear();
    for (const lane of running.allLanes) this.#parts.decoder.cache.release(lane);
  }

  /** Drops what is kept of an adapter. */
  forgetAdapter(key: string): void {
    this.#prefixes.forgetAdapter(key);
  }

  /**
   * The next plan whose new tokens there is room for, of sequences that no grammar holds. What the prefix cache holds
   * gives way first, then the youngest sequences of whoever has most; a sequence alone may take what it needs. Prompts
   * go round between callers.
   * @param onPreempted is given each sequence that had to give its lanes back.
   * @returns null when nothing is left to compute.
   */
  plan(previous: StepPlan["phase"], onPreempted: (sequence: Sequence) => void): StepPlan | null {
    const { decoder, limits } = this.#parts;
    const { cache } = decoder;
    for (;;) {
      const views = [...this.#running.values()]
        .filter(({ sequence }) => !sequence.isHeld)
        .map((running) => running.view(this.#lastChunks.get(running.sequence.caller) ?? 0));
      const plan = planStep(views, limits, previous);
      if (plan === null) return null;
      const missing = plan.rows.reduce(
        (sum, row) => sum + cache.blocksMissing(this.get(row.sequenceId).lane(row), row.count),
        0,
      );
      const left = limits.cacheBytes - (cache.blocksInUse + missing) * cache.blockBytes;
      this.#prefixes.shrinkTo(Math.max(0, left));
      if (left >= 0 || missing === 0 || this.#running.size === 1) return this.#taken(plan);
      const sequence = firstToGiveUp(this.sequences);
      if (sequence === null) throw new Error("there is nobody to preempt");
      this.release(this.get(sequence.id));
      onPreempted(sequence);
    }
  }

  #taken(plan: StepPlan): StepPlan {
    const [row] = plan.rows;
    if (plan.phase === "prefill" && row !== undefined) {
      // So many callers without a moment of rest: all of them begin again as equals.
      if (this.#lastChunks.size >= mostCallers) this.#lastChunks.clear();
      this.#lastChunks.set(this.get(row.sequenceId).sequence.caller, ++this.#chunks);
    }
    return plan;
  }

  /** @throws Error when it does not run */
  get(id: string): RunningSequence {
    const running = this.#running.get(id);
    if (running === undefined) throw new Error(`the plan names sequence ${id}, which is not running`);
    return running;
  }

  /** What is wrong with the bookkeeping, as sentences; empty when all is well. */
  violations(): string[] {
    const { cache } = this.#parts.decoder;
    const violations = cache.violations();
    const lanes = [...this.#running.values()].reduce((sum, { allLanes }) => sum + allLanes.length, 0);
    if (cache.lanesInUse !== lanes) {
      violations.push(`${cache.lanesInUse} lanes are allocated, the running sequences have ${lanes}`);
    }
    return violations;
  }

  #hasRoomFor({ laneCount, tokenIds }: Sequence): boolean {
    const { cache } = this.#parts.decoder;
    const claimed = cache.blocksInUse + cache.lanesInUse;
    const occupancy = { running: this.#running.size, claimedBytes: claimed * cache.blockBytes };
    const needed = laneCount * blocksOf(tokenIds.length + 1) * cache.blockBytes;
    return canStart(occupancy, needed, this.#parts.limits);
  }

  #allocate({ request: { steering, stack } }: Sequence): Lanes {
    const { cache, architecture } = this.#parts.decoder;
    switch (steering.kind) {
      case "plain":
        return { kind: "plain", bottomUp: cache.allocate("bottomUp") };
      case "vectors":
        if (stack === null) throw new Error("a request with control vectors was admitted without them");
        return { kind: "vectors", steered: cache.allocate("steered"), stack };
      case "steered": {
        const adapter = this.#parts.adapters.get(steering.adapter);
        if (adapter === undefined) throw new Error(`adapter ${steering.adapter} was admitted but is not loaded`);
        return {
          kind: "steered",
          bottomUp: cache.allocate("bottomUp"),
          steered: cache.allocate("steered"),
          adapter,
          gains: layerGains(steering, architecture.layers),
          stack,
          draft: null,
        };
      }
    }
  }
}
