import type { PlannedRow, StepPlan } from "./step-plan.js";

/** What the scheduler knows of a running sequence: how far each lane's computed tokens are behind its tokens. */
export interface SequenceView {
  readonly id: string;
  /** Prompt and output tokens known so far. */
  readonly tokens: number;
  /** Tokens computed in the bottom-up lane. */
  readonly bottomUp: number;
  /** The steered lane, or why there is none. */
  readonly steered: { readonly kind: "plain" } | { readonly kind: "steered"; readonly computed: number };
}

/**
 * Picks the rows of the next forward. Pure.
 *
 * One rule covers everything: computed tokens catch up with tokens, lane by lane. A steered lane follows its bottom-up lane,
 * because its top-down values come from there. In this sequential two-pass schedule a pass that has begun is finished first;
 * then all sequences that miss one token share a forward, and a longer prompt is computed in chunks, alone, in turn with them:
 * so a chunk's arithmetic, and with it the text, is the same whoever else is being served.
 *
 * @param sequences in order of arrival
 * @param chunkTokens most tokens of a prompt in one forward
 * @param previous the last plan's phase: prefill and decode take turns where both wait
 * @returns null when nothing is left to compute
 */
export function planStep(
  sequences: readonly SequenceView[],
  chunkTokens: number,
  previous: StepPlan["phase"],
): StepPlan | null {
  const steeredRows = sequences.flatMap(steeredRow);
  if (steeredRows.length > 0) return joinable(steeredRows, "decode");
  const bottomUpRows = sequences.flatMap((sequence) => bottomUpRow(sequence, chunkTokens));
  if (bottomUpRows.length === 0) return null;
  return joinable(bottomUpRows, previous === "prefill" ? "decode" : "prefill");
}

/** Rows of one token share a forward; a row of several goes alone. `preferred` is taken when both kinds wait. */
function joinable(rows: readonly PlannedRow[], preferred: StepPlan["phase"]): StepPlan {
  const single = rows.filter((row) => row.count === 1);
  const chunk = rows.find((row) => row.count > 1);
  if (chunk !== undefined && (preferred === "prefill" || single.length === 0))
    return { phase: "prefill", rows: [chunk] };
  return { phase: "decode", rows: single };
}

function steeredRow(sequence: SequenceView): PlannedRow[] {
  const { steered } = sequence;
  if (steered.kind === "plain" || steered.computed === sequence.bottomUp) return [];
  return [
    {
      sequenceId: sequence.id,
      lane: "steered",
      from: steered.computed,
      count: sequence.bottomUp - steered.computed,
      output: sequence.bottomUp === sequence.tokens ? "logits" : "nothing",
    },
  ];
}

function bottomUpRow(sequence: SequenceView, chunkTokens: number): PlannedRow[] {
  const missing = sequence.tokens - sequence.bottomUp;
  if (missing === 0) return [];
  const count = Math.min(missing, chunkTokens);
  return [
    {
      sequenceId: sequence.id,
      lane: "bottomUp",
      from: sequence.bottomUp,
      count,
      output: sequence.steered.kind === "steered" ? "hiddenStates" : count === missing ? "logits" : "nothing",
    },
  ];
}
