import type { Engine } from "../engine/engine.js";
import { ToastError } from "../errors.js";
import { type ServedModel, servedModelsOf } from "../openai/served-model.js";

/** Where the whole server is in its life, as GET /health tells it. */
export type ServerPhase =
  | { readonly kind: "loading"; readonly stage: string; readonly fraction: number }
  | { readonly kind: "ready" }
  | { readonly kind: "failed"; readonly message: string };

/**
 * The engines of one process, one per model folder, found by model id. Engines are asked for their phase each time:
 * nothing here can be out of date.
 */
export class EngineRegistry {
  readonly #engines: readonly Engine[];
  readonly #observe: (engine: Engine) => Engine;

  /** @param observe what requests get to see of an engine; default: itself. */
  constructor(engines: readonly Engine[], observe: (engine: Engine) => Engine = (engine) => engine) {
    this.#engines = engines;
    this.#observe = observe;
  }

  /** Ready only when every engine is: a model list that grows while clients look at it would be a riddle. */
  get phase(): ServerPhase {
    let fraction = 0;
    let stage: string | null = null;
    for (const { phase } of this.#engines) {
      switch (phase.kind) {
        case "failed":
          return { kind: "failed", message: phase.message };
        case "closed":
          return { kind: "failed", message: "The engine is closed." };
        case "loading":
          fraction += phase.fraction;
          stage ??= phase.stage;
          break;
        case "ready":
          fraction += 1;
      }
    }
    return stage === null ? { kind: "ready" } : { kind: "loading", stage, fraction: fraction / this.#engines.length };
  }

  /** Every served id, in the order of the folders; those of engines that are not ready are left out. */
  get models(): readonly ServedModel[] {
    return this.#entries().map(({ model }) => model);
  }

  /**
   * @returns the model of this very id and the engine that runs it. Never another model instead.
   * @throws ToastError `server_loading` while engines load, `model_not_found`, `engine_failed`.
   */
  resolve(id: string): { readonly model: ServedModel; readonly engine: Engine } {
    const phase = this.phase;
    if (phase.kind === "loading") {
      const percent = Math.floor(phase.fraction * 100);
      throw new ToastError("server_loading", `The server is loading (${phase.stage}, ${percent} %). Try again soon.`);
    }
    const entry = this.#entries().find(({ model }) => model.id === id);
    if (entry !== undefined) {
      return { ...entry, engine: this.#observe(entry.engine) };
    }
    if (phase.kind === "failed") {
      throw new ToastError("engine_failed", phase.message);
    }
    const served = this.models.map((model) => model.id).join(", ");
    const message = `The model '${id.slice(0, 100)}' is not served here. Served: ${served}.`;
    throw new ToastError("model_not_found", message, { param: "model" });
  }

  /** Cancels what runs and ends all workers. */
  async close(): Promise<void> {
    await Promise.all(this.#engines.map((engine) => engine.close()));
  }

  #entries(): readonly { readonly model: ServedModel; readonly engine: Engine }[] {
    return this.#engines.flatMap((engine) =>
      engine.phase.kind === "ready" ? servedModelsOf(engine.phase.model).map((model) => ({ model, engine })) : [],
    );
  }
}
