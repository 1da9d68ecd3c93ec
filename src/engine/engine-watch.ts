import type { Engine } from "./engine.js";

/** A step of the largest models on the slowest machines, and the compiling of a grammar beside it, take less. */
export const silenceMs = 30_000;

/** Whatever stands for so long will not go on. */
export const lostMs = 300_000;

/**
 * Whether engines still answer. Each look asks those that owe nothing for a sign of life, and passes: whoever probes
 * again and again learns of an engine that stands.
 */
export class EngineWatch {
  readonly #now: () => number;
  /** When each was asked for the sign that it still owes. */
  readonly #askedAt = new Map<Engine, number>();

  /** @param now milliseconds of a clock that is never set. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** @returns for how many milliseconds the engine owes a sign of life; null: not for long enough to matter. */
  silenceOf(engine: Engine): number | null {
    if (engine.phase.kind !== "ready") {
      this.#askedAt.delete(engine);
      return null;
    }
    const askedAt = this.#askedAt.get(engine);
    if (askedAt !== undefined) {
      const silence = this.#now() - askedAt;
      return silence < silenceMs ? null : silence;
    }
    this.#askedAt.set(engine, this.#now());
    const settled = () => this.#askedAt.delete(engine);
    // One that has failed says so by its phase.
    engine.inspect().then(settled, settled);
    return null;
  }
}
