import type { SteeringChoice } from "../../openai/steering-field.js";
import type { BattleSide } from "../battle-record.js";

export interface ArenaMessage {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** What both sides of a comparison are asked: the same words, sampling and seed. */
export interface Question {
  readonly messages: readonly ArenaMessage[];
  readonly temperature: number;
  readonly topP: number;
  readonly maxTokens: number;
  readonly seed: number;
}

/** Any number of `text`, then one `end`. */
export type AnswerEvent =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "end"; readonly side: BattleSide };

/** Who can be asked: a model of this server, one of another, or a file of recorded answers. */
export interface Contestant {
  readonly id: string;
  readonly label: string;
  readonly kind: "served" | "remote" | "recorded";
  readonly model: string | null;
  /** As the configuration fixes it; null: as the model id says. */
  readonly steering: SteeringChoice | null;
  readonly template: string | null;
  /** Whether random pairs may draw it. */
  readonly arena: boolean;
  /**
   * @throws ToastError, also while the answer is read; `contestant_failed` for what another server did.
   * Aborting `signal` ends the answer.
   */
  ask(question: Question, signal: AbortSignal): AsyncIterable<AnswerEvent>;
}

/** Milliseconds of one answer. */
export class Stopwatch {
  readonly #startedAt = performance.now();
  #firstTokenMs: number | null = null;

  sawText(): void {
    this.#firstTokenMs ??= this.#elapsed();
  }

  get times(): { readonly firstTokenMs: number | null; readonly totalMs: number } {
    return { firstTokenMs: this.#firstTokenMs, totalMs: this.#elapsed() };
  }

  #elapsed(): number {
    return Math.round(10 * (performance.now() - this.#startedAt)) / 10;
  }
}

/** A whole answer at once. */
export async function completeAnswer(
  contestant: Contestant,
  question: Question,
  signal: AbortSignal,
): Promise<BattleSide> {
  for await (const event of contestant.ask(question, signal)) {
    if (event.kind === "end") return event.side;
  }
  throw new Error(`${contestant.id} ended without an end.`);
}
