import type { EngineStatus } from "../engine-status.js";
import type { StepPlan } from "./step-plan.js";

/** What the loop has done since loading. */
export class LoopCounters {
  #forwards = 0;
  #prefillForwards = 0;
  readonly #rows = { bottomUp: 0, steered: 0 };
  readonly #drafts = { proposed: 0, accepted: 0 };
  readonly #guesses = { proposed: 0, accepted: 0 };
  readonly #prefixTokens = { queried: 0, hit: 0 };
  #preemptions = 0;
  #stepMs = 0;

  forward({ phase, rows }: StepPlan): void {
    this.#forwards++;
    if (phase === "prefill") this.#prefillForwards++;
    for (const { lane } of rows) this.#rows[lane]++;
  }

  draft(what: "proposed" | "accepted"): void {
    this.#drafts[what]++;
  }

  guesses(proposed: number, accepted: number): void {
    this.#guesses.proposed += proposed;
    this.#guesses.accepted += accepted;
  }

  prefixLookup(queried: number, hit: number): void {
    this.#prefixTokens.queried += queried;
    this.#prefixTokens.hit += hit;
  }

  preemption(): void {
    this.#preemptions++;
  }

  step(milliseconds: number): void {
    this.#stepMs += milliseconds;
  }

  /** @param graphMs in the decoder's and adapters' graphs */
  status(
    graphMs: number,
  ): Pick<
    EngineStatus,
    "forwards" | "prefillForwards" | "rows" | "drafts" | "guesses" | "prefixTokens" | "preemptions" | "time"
  > {
    return {
      forwards: this.#forwards,
      prefillForwards: this.#prefillForwards,
      rows: { ...this.#rows },
      drafts: { ...this.#drafts },
      guesses: { ...this.#guesses },
      prefixTokens: { ...this.#prefixTokens },
      preemptions: this.#preemptions,
      time: { graphMs, stepMs: this.#stepMs },
    };
  }
}
