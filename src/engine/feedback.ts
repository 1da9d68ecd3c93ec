import type { RowTopDown } from "../model/decoder.js";
import type { TokenSteering } from "./messages.js";
import type { LoopAdapter, RunningSequence } from "./sequence.js";
import type { PlannedRow } from "./step-plan.js";
import { tokenSteering } from "./token-steering.js";

/** A row of a step, with the sequence that it belongs to. */
export interface PlannedWork {
  readonly row: PlannedRow;
  readonly running: RunningSequence;
}

/** What a steered row is computed with. */
export interface FedBack {
  readonly topDown: RowTopDown;
  /** Of its tokens; empty when nobody asked. */
  readonly steering: readonly TokenSteering[];
}

interface Member {
  readonly index: number;
  readonly tokens: number;
  readonly hiddenStates: Float32Array;
  readonly gains: Float32Array;
}

/** Lets adapters read the bottom-up pass's hidden states: the way down from one pass to the other. */
export class Feedback {
  readonly #layers: number;
  readonly #hiddenSize: number;
  /** What adapters read, one run after the other: fresh arrays of this size would cost more than what is written into them. */
  #states = new Float32Array(0);

  constructor({ layers, hiddenSize }: { readonly layers: number; readonly hiddenSize: number }) {
    this.#layers = layers;
    this.#hiddenSize = hiddenSize;
  }

  /**
   * The top-down values of the steered rows among `planned`, from the hidden states of the same tokens; one run an adapter.
   * @returns for each steered row, null for the others.
   */
  async of(planned: readonly PlannedWork[]): Promise<readonly (FedBack | null)[]> {
    const fedBack: (FedBack | null)[] = planned.map(() => null);
    for (const [adapter, group] of byAdapter(planned)) {
      const topDown = await adapter.topDown(...this.#joined(group));
      const total = group.reduce((sum, { tokens }) => sum + tokens, 0);
      let from = 0;
      for (const { index, tokens } of group) {
        fedBack[index] = {
          topDown: { values: topDown.topDownValues, total, from },
          steering: planned[index]?.running.explains ? tokenSteering(topDown, this.#layers, from, tokens) : [],
        };
        from += tokens;
      }
    }
    return fedBack;
  }

  /**
   * Explains the tokens of a prompt that came out of the prefix cache. Their hidden states came along; the adapter reads them once
   * more.
   * @param chunkTokens the chunks of the first time, so that it reads the same.
   */
  async explainRestored(
    { sequence: { promptReport }, lanes, hiddenStates, explains }: RunningSequence,
    chunkTokens: number,
  ): Promise<void> {
    if (promptReport === null || !explains || lanes.kind === "plain") return;
    for (;;) {
      const stretch = promptReport.unsteered(chunkTokens);
      if (stretch === null) return;
      const { from, count } = stretch;
      const member = { index: 0, tokens: count, hiddenStates: hiddenStates.view(from, count), gains: lanes.gains };
      const topDown = await lanes.adapter.topDown(...this.#joined([member]));
      promptReport.addSteering(from, tokenSteering(topDown, this.#layers, 0, count));
    }
  }

  /** Hidden states [T,D] of all members, valid until the next call, and gains [T,L]. */
  #joined(group: readonly Member[]): [hiddenStates: Float32Array, gains: Float32Array] {
    const total = group.reduce((sum, { tokens }) => sum + tokens, 0);
    if (this.#states.length < total * this.#hiddenSize) this.#states = new Float32Array(total * this.#hiddenSize);
    const gains = new Float32Array(total * this.#layers);
    let token = 0;
    for (const member of group) {
      this.#states.set(member.hiddenStates, token * this.#hiddenSize);
      for (const end = token + member.tokens; token < end; token++) gains.set(member.gains, token * this.#layers);
    }
    return [this.#states.subarray(0, total * this.#hiddenSize), gains];
  }
}

function byAdapter(planned: readonly PlannedWork[]): ReadonlyMap<LoopAdapter, readonly Member[]> {
  const groups = new Map<LoopAdapter, Member[]>();
  for (const [index, { row, running }] of planned.entries()) {
    const { lanes } = running;
    if (row.lane !== "steered" || lanes.kind !== "steered") continue;
    const hiddenStates = running.hiddenStates.view(row.from, row.count);
    const group = groups.get(lanes.adapter) ?? [];
    group.push({ index, tokens: row.count, hiddenStates, gains: lanes.gains });
    groups.set(lanes.adapter, group);
  }
  return groups;
}
