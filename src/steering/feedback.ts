import type { RowTopDown } from "../model/decoder.js";
import type { Adapter } from "./adapter.js";
import { type TokenSteering, tokenSteering } from "./token-steering.js";

/** T tokens of one sequence that the steered pass is to read. */
export interface FeedbackMember {
  readonly adapter: Pick<Adapter, "topDown">;
  /** float32 [T,D] of the bottom-up pass; copied. */
  readonly hiddenStates: Float32Array;
  /** float32 [L] */
  readonly gains: Float32Array;
  /** Whether somebody wants to know what steering does with these tokens. */
  readonly explain: boolean;
}

/** What the steered pass reads a member's tokens with. */
export interface FedBack {
  readonly topDown: RowTopDown;
  /** Of each token; empty when it need not be explained. */
  readonly steering: readonly TokenSteering[];
}

/** Lets adapters read the bottom-up pass's hidden states: the way down from one pass to the other. */
export class Feedback {
  readonly #layers: number;
  readonly #hiddenSize: number;
  /**
   * What adapters read, one run after the other: fresh arrays of this size would cost more than what is written into
   * them.
   */
  #states = new Float32Array(0);

  constructor({ layers, hiddenSize }: { readonly layers: number; readonly hiddenSize: number }) {
    this.#layers = layers;
    this.#hiddenSize = hiddenSize;
  }

  /**
   * The top-down values of all members; one run an adapter.
   * @param members null for a row that is not steered.
   * @returns in the same order; null for null.
   * @throws ToastError `engine_failed`
   */
  async of(members: readonly (FeedbackMember | null)[]): Promise<readonly (FedBack | null)[]> {
    const fedBack: (FedBack | null)[] = members.map(() => null);
    for (const adapter of new Set(members.flatMap((member) => member?.adapter ?? []))) {
      const group = members.map((member) => (member?.adapter === adapter ? member : null));
      const topDown = await adapter.topDown(...this.#joined(group.filter((member) => member !== null)));
      const total = topDown.relevance.length;
      let from = 0;
      for (const [index, member] of group.entries()) {
        if (member === null) continue;
        const tokens = member.hiddenStates.length / this.#hiddenSize;
        fedBack[index] = {
          topDown: { values: topDown.topDownValues, total, from },
          steering: member.explain ? tokenSteering(topDown, this.#layers, from, tokens) : [],
        };
        from += tokens;
      }
    }
    return fedBack;
  }

  /** Of one member alone. @throws ToastError `engine_failed` */
  async ofOne(member: FeedbackMember): Promise<FedBack> {
    const [fedBack] = await this.of([member]);
    return fedBack as FedBack;
  }

  /** Hidden states [N,D] of all members, valid until the next call, and gains [N,L]. */
  #joined(group: readonly FeedbackMember[]): [hiddenStates: Float32Array, gains: Float32Array] {
    const size = group.reduce((sum, { hiddenStates }) => sum + hiddenStates.length, 0);
    if (this.#states.length < size) this.#states = new Float32Array(size);
    const gains = new Float32Array((size / this.#hiddenSize) * this.#layers);
    let filled = 0;
    for (const member of group) {
      this.#states.set(member.hiddenStates, filled);
      const end = filled + member.hiddenStates.length;
      for (; filled < end; filled += this.#hiddenSize)
        gains.set(member.gains, (filled / this.#hiddenSize) * this.#layers);
    }
    return [this.#states.subarray(0, size), gains];
  }
}
