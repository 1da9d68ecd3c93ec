import type { PlannedRow, StepPlan } from "./step-plan.js";

/**
 * In which order a steered sequence's two lanes advance. The text is the same, token for token.
 *
 * - `sequential`: the bottom-up row of a token, then its steered row: two forwards a token.
 * - `draftAhead`: one forward carries the steered row of a token and the bottom-up row of a *draft* of the next one. When the
 *   sampled token equals the draft, the next token is a forward further on already; otherwise the bottom-up row is computed again
 *   with the right token.
 */
export const schedules = ["sequential", "draftAhead"] as const;
export type Schedule = (typeof schedules)[number];

/** What the scheduler knows of a running sequence: how far each lane's computed tokens are behind its tokens. */
export interface SequenceView {
  readonly id: string;
  /** Prompt and output tokens known so far. */
  readonly tokens: number;
  /** Tokens computed in the bottom-up lane; `tokens + 1` never outlives a step: a draft is accepted or taken back in it. */
  readonly bottomUp: number;
  /** The steered lane, or why there is none. */
  readonly steered:
    | { readonly kind: "plain" }
    | {
        readonly kind: "steered";
        readonly computed: number;
        /** Whether there is a draft of the token after the known ones. */
        readonly draft: "none" | "waiting";
      };
}

/**
 * Picks the rows of the next forward. Pure.
 *
 * One rule covers everything: computed tokens catch up with tokens, lane by lane. A steered lane follows its bottom-up lane,
 * because its top-down values come from there. All rows of one token share a forward, whatever their lane, adapter or strength. A
 * longer stretch of prompt is computed in chunks, alone, in turn with them: so a chunk's arithmetic, and with it the text, is the
 * same whoever else is being served.
 *
 * @param sequences in order of arrival
 * @param chunkTokens most tokens of a prompt in one forward
 * @param previous the last plan's phase: prefill and decode take turns where both wait
 * @returns null when nothing is left to compute
 */
export function planStep(
  sequences: readonly SequenceView[],
  options: { readonly chunkTokens: number; readonly schedule: Schedule },
  previous: StepPlan["phase"],
): StepPlan | null {
  const rows = sequences.flatMap((sequence) => rowsOf(sequence, options));
  const single = rows.filter((row) => row.count === 1);
  const chunk = rows.find((row) => row.count > 1);
  if (chunk !== undefined && (previous === "decode" || single.length === 0)) return { phase: "prefill", rows: [chunk] };
  if (single.length > 0) return { phase: "decode", rows: single };
  return null;
}

function rowsOf(
  sequence: SequenceView,
  { chunkTokens, schedule }: { readonly chunkTokens: number; readonly schedule: Schedule },
): readonly PlannedRow[] {
  const { id, tokens, bottomUp, steered } = sequence;
  const missing = tokens - bottomUp;
  if (steered.kind === "plain") {
    if (missing === 0) return [];
    const count = Math.min(missing, chunkTokens);
    return [
      { sequenceId: id, lane: "bottomUp", from: bottomUp, count, output: count === missing ? "logits" : "nothing" },
    ];
  }
  const behind = bottomUp - steered.computed;
  if (behind > 0) {
    const steeredRow: PlannedRow = {
      sequenceId: id,
      lane: "steered",
      from: steered.computed,
      count: behind,
      output: missing === 0 ? "logits" : "nothing",
    };
    if (behind > 1 || steered.draft === "none") return [steeredRow];
    const draftRow: PlannedRow = {
      sequenceId: id,
      lane: "bottomUp",
      from: bottomUp,
      count: 1,
      output: "hiddenStatesAndLogits",
    };
    return [steeredRow, draftRow];
  }
  if (missing === 0) return [];
  const count = Math.min(missing, chunkTokens);
  // A draft rides with a steered row of one token; behind a longer chunk there is no such row.
  const output = missing === 1 && schedule === "draftAhead" ? "hiddenStatesAndLogits" : "hiddenStates";
  return [{ sequenceId: id, lane: "bottomUp", from: bottomUp, count, output }];
}
