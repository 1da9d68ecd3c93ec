import type { WantedLogits } from "../../model/decoder.js";
import type { PlannedRow, StepPlan } from "./step-plan.js";

/**
 * In which order a steered sequence's two lanes advance. The text is the same, token for token.
 *
 * - `sequential`: the bottom-up row of a token, then its steered row: two forwards a token.
 * - `draftAhead`: one forward carries the steered row of a token and the bottom-up row of a *draft* of the next one.
 *   When the sampled token equals the draft, the next token is a forward further on already; otherwise the bottom-up
 *   row is computed again with the right token.
 */
export const schedules = ["sequential", "draftAhead"] as const;
export type Schedule = (typeof schedules)[number];

/** What the scheduler knows of a running sequence: how far each lane's computed tokens are behind its tokens. */
export interface SequenceView {
  readonly id: string;
  /** Tokens of the prompt: these are computed in chunks, those after it one by one. */
  readonly prompt: number;
  /** Of which tokens of the prompt the sampled lane (the steered one, or the only one) gives logits. */
  readonly promptLogits: "last" | "all";
  /**
   * When its caller last had a piece of a prompt computed; those whose last was longest ago come first, among equals
   * those who came first. 0: never.
   */
  readonly lastChunk: number;
  /** Prompt and output tokens known so far. */
  readonly tokens: number;
  /** Guesses of the tokens behind the known ones. */
  readonly guesses: number;
  /**
   * Tokens computed in the bottom-up lane, 0 where there is none; `tokens + 1` never outlives a step: a draft is
   * accepted or taken back in it. Guesses stay until the steered lane has decided about them.
   */
  readonly bottomUp: number;
  /** The steered lane, or why there is none. With control vectors alone it is the only one, and waits for no other. */
  readonly steered:
    | { readonly kind: "plain" }
    | { readonly kind: "vectors"; readonly computed: number }
    | {
        readonly kind: "steered";
        readonly computed: number;
        /** Whether there is a draft of the token after the known ones. */
        readonly draft: "none" | "waiting";
      };
}

export interface ScheduleOptions {
  /** Most tokens of a prompt in one forward. */
  readonly chunkTokens: number;
  readonly schedule: Schedule;
}

/**
 * Picks the rows of the next forward. Pure.
 *
 * One rule covers everything: computed tokens catch up with tokens, lane by lane. A steered lane follows its bottom-up
 * lane, because its top-down values come from there. All rows of one token share a forward, whatever their lane,
 * adapter or strength. A longer piece of prompt is computed in chunks, alone, in turn with them: so a chunk's
 * arithmetic, and with it the text, is the same whoever else is being served.
 *
 * Guesses go through the lanes as one row: the decoder computes each as if it came alone. With an adapter that is two
 * forwards, the bottom-up row of all of them and the steered one.
 *
 * Which of several prompts has its chunk computed goes round between callers: a long prompt of one does not hold up
 * another's. Where a chunk ends follows from the prompt alone, and what comes after the prompt is always computed
 * token by token. So a sequence that was preempted computes what it had lost with the same arithmetic, and goes on
 * with the same text.
 *
 * @param sequences in order of arrival
 * @param previous the last plan's phase: prefill and decode take turns where both wait
 * @returns null when nothing is left to compute
 */
export function planStep(
  sequences: readonly SequenceView[],
  options: ScheduleOptions,
  previous: StepPlan["phase"],
): StepPlan | null {
  const rows = sequences.flatMap((sequence) => rowsOf(sequence, options).map((row) => ({ sequence, row })));
  const single = rows.flatMap(({ row }) => (row.count === 1 ? [row] : []));
  const ahead = rows.find(({ row }) => row.count > 1 && row.guesses)?.row;
  let chunk: PlannedRow | undefined;
  let lastChunk = Number.POSITIVE_INFINITY;
  for (const { sequence, row } of rows) {
    if (row.count === 1 || row.guesses || sequence.lastChunk >= lastChunk) continue;
    chunk = row;
    lastChunk = sequence.lastChunk;
  }
  const decodes = ahead !== undefined || single.length > 0;
  if (chunk !== undefined && (previous === "decode" || !decodes)) return { phase: "prefill", rows: [chunk] };
  if (ahead !== undefined) return { phase: "decode", rows: [ahead] };
  if (single.length > 0) return { phase: "decode", rows: single };
  return null;
}

function rowsOf(sequence: SequenceView, options: ScheduleOptions): readonly PlannedRow[] {
  const { tokens, bottomUp, steered } = sequence;
  if (steered.kind !== "steered") {
    const from = steered.kind === "plain" ? bottomUp : steered.computed;
    if (from === tokens) return [];
    const lane = steered.kind === "plain" ? "bottomUp" : "steered";
    if (takesGuesses(sequence, from)) return [guessedRow(sequence, lane, from, "all")];
    const count = chunk(sequence, from, tokens, options);
    const logits = sampledLogits(sequence, from, count);
    return [{ sequenceId: sequence.id, lane, from, count, logits, guesses: false }];
  }
  if (takesGuesses(sequence, steered.computed)) {
    // The steered row of a guess is made of its bottom-up row.
    if (bottomUp < tokens + sequence.guesses) return [guessedRow(sequence, "bottomUp", bottomUp, "none")];
    return [guessedRow(sequence, "steered", steered.computed, "all")];
  }
  // A draft is of use where it rides with a steered row of one token.
  const drafts = options.schedule === "draftAhead";
  if (steered.computed < bottomUp) {
    const count = chunk(sequence, steered.computed, bottomUp, options);
    const row: PlannedRow = {
      sequenceId: sequence.id,
      lane: "steered",
      from: steered.computed,
      count,
      logits: sampledLogits(sequence, steered.computed, count),
      guesses: false,
    };
    if (count > 1 || steered.computed + 1 < bottomUp || !drafts) return [row];
    // Beside the one steered row goes the next bottom-up row: of a token that is known (after a preemption), or of a
    // draft.
    if (bottomUp < tokens) {
      if (bottomUp < sequence.prompt) return [row];
      return [row, bottomUpRow(sequence, 1, bottomUp + 1 === tokens ? "last" : "none")];
    }
    return steered.draft === "none" ? [row] : [row, bottomUpRow(sequence, 1, "last")];
  }
  if (bottomUp === tokens) return [];
  const count = chunk(sequence, bottomUp, tokens, options);
  const guess = drafts && count === 1 && bottomUp + 1 === tokens;
  return [bottomUpRow(sequence, count, guess ? "last" : "none")];
}

/** Whether the next row of the lane that the text is sampled from brings the last known token, and guesses. */
function takesGuesses({ guesses, prompt, tokens, bottomUp, steered }: SequenceView, from: number): boolean {
  if (guesses === 0 || from < prompt || from + 1 !== tokens) return false;
  return steered.kind !== "steered" || bottomUp >= from;
}

function guessedRow(
  { id, tokens, guesses }: SequenceView,
  lane: PlannedRow["lane"],
  from: number,
  logits: WantedLogits,
): PlannedRow {
  return { sequenceId: id, lane, from, count: tokens + guesses - from, logits, guesses: true };
}

/** Which logits a row of the lane that the text is sampled from has to give. */
function sampledLogits({ prompt, promptLogits, tokens }: SequenceView, from: number, count: number): WantedLogits {
  if (promptLogits === "all" && from < prompt) return "all";
  return from + count === tokens ? "last" : "none";
}

/** How many tokens from `from` on are computed at once: to the chunk's end inside the prompt, one behind it. */
function chunk({ prompt }: SequenceView, from: number, known: number, { chunkTokens }: ScheduleOptions): number {
  if (from >= prompt) return 1;
  return Math.min(prompt, known, from - (from % chunkTokens) + chunkTokens) - from;
}

function bottomUpRow({ id, bottomUp }: SequenceView, count: number, logits: WantedLogits): PlannedRow {
  return { sequenceId: id, lane: "bottomUp", from: bottomUp, count, logits, guesses: false };
}
