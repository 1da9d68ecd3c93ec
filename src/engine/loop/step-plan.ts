import type { WantedLogits } from "../../model/decoder.js";
import type { LaneKind } from "../../model/kv-cache.js";

/** The unit of work: one sequence's tokens `from` … `from + count − 1`, to be computed in one of its lanes. */
export interface PlannedRow {
  readonly sequenceId: string;
  readonly lane: LaneKind;
  readonly from: number;
  readonly count: number;
  readonly logits: WantedLogits;
  /** Whether tokens are among them that are not known but guessed (see TextGuesses). */
  readonly guesses: boolean;
}

/** The rows of one forward; all have the same count. */
export interface StepPlan {
  readonly phase: "prefill" | "decode";
  readonly rows: readonly PlannedRow[];
}
