import { serverLoading, ToastError } from "../errors.js";
import { type Engine, type Generate, modelIn, type ServingEngine } from "./engine.js";
import { EngineWatch, lostMs } from "./engine-watch.js";
import { type ServedModel, servedModelsOf } from "./served-model.js";

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
  readonly #observe: (generate: Generate, base: string) => Generate;
  readonly #preparing: () => string | null;
  readonly #names: readonly string[];
  readonly #watch: EngineWatch;

  /**
   * @param options.observe what requests get to see of an engine's `generate`, given the base's id; default: itself.
   * @param options.names that the only engine's model answers to beside its own id.
   * @param options.preparing says what is still to be done when all engines are loaded; null: nothing.
   */
  constructor(
    engines: readonly Engine[],
    options: {
      readonly observe?: (generate: Generate, base: string) => Generate;
      readonly preparing?: () => string | null;
      readonly names?: readonly string[];
      readonly watch?: EngineWatch;
    } = {},
  ) {
    this.#engines = engines;
    this.#observe = options.observe ?? ((generate) => generate);
    this.#preparing = options.preparing ?? (() => null);
    this.#names = options.names ?? [];
    this.#watch = options.watch ?? new EngineWatch();
  }

  /**
   * Ready once no engine loads any more: a model list that grows while clients look at it would be a riddle. A model
   * that has failed does not take the others down: the server has failed only when none is left.
   */
  get phase(): ServerPhase {
    let fraction = 0;
    let stage: string | null = null;
    for (const { phase } of this.#engines) {
      if (phase.kind === "loading") stage ??= phase.stage;
      fraction += phase.kind === "loading" ? phase.fraction : 1;
    }
    if (stage !== null) return { kind: "loading", stage, fraction: fraction / this.#engines.length };
    const [failure] = this.failures;
    const isAnyReady = this.#engines.some(({ phase }) => modelIn(phase) !== null);
    if (!isAnyReady && failure !== undefined) return { kind: "failed", message: failure };
    const preparing = this.#preparing();
    return preparing === null ? { kind: "ready" } : { kind: "loading", stage: preparing, fraction: 1 };
  }

  /** What became of engines that do not run, in a sentence each. */
  get failures(): readonly string[] {
    return this.#engines.flatMap(({ phase }) => {
      if (phase.kind === "failed") return [phase.message];
      return phase.kind === "closed" ? ["The engine is closed."] : [];
    });
  }

  /** Engines that have not answered for long, in a sentence each; see {@link EngineWatch}. */
  get silences(): readonly string[] {
    return this.#silencesOf(0);
  }

  #silencesOf(leastMs: number): readonly string[] {
    return this.#engines.flatMap((engine) => {
      const silence = this.#watch.silenceOf(engine);
      if (silence === null || silence < leastMs || engine.phase.kind !== "ready") return [];
      return [`The engine of ${engine.phase.model.id} has not answered for ${Math.floor(silence / 1000)} seconds.`];
    });
  }

  /** Engines that stopped and are being started again, in a sentence each. */
  get restarts(): readonly string[] {
    return this.#engines.flatMap(({ phase }) => (phase.kind === "restarting" ? [phase.message] : []));
  }

  /**
   * Engines that had served and are gone for good, in a sentence each: those that could not be started again, and those
   * that stand for so long that they never will answer. Nothing but a new process brings them back, while one that
   * could not be loaded would fail again.
   */
  get losses(): readonly string[] {
    const gone = this.#engines.flatMap(({ phase }) =>
      phase.kind === "failed" && (phase.model ?? null) !== null ? [phase.message] : [],
    );
    return [...gone, ...this.#silencesOf(lostMs)];
  }

  /** Every served id, in the order of the folders; those of engines that do not serve are left out. */
  get models(): readonly ServedModel[] {
    return this.#entries().map(({ model }) => model);
  }

  /**
   * @param asked null: the base of the only engine, where there is no other.
   * @returns the model of this very id and the engine that runs it. Never another model instead.
   * @throws ToastError `server_loading` while engines load, `model_not_found`, `engine_failed`, `invalid_request` when
   * nothing is asked for and there are several.
   */
  resolve(asked: string | null): { readonly model: ServedModel; readonly engine: ServingEngine } {
    const phase = this.phase;
    if (phase.kind === "loading") {
      const percent = Math.floor(phase.fraction * 100);
      throw serverLoading(`${phase.stage}, ${percent} %`);
    }
    const id = asked ?? this.#onlyId();
    const entry = this.#entries().find(({ model }) => model.id === id);
    if (entry !== undefined) {
      const { model, engine } = entry;
      const generate = this.#observe((request, signal) => engine.generate(request, signal), model.base.id);
      return { model, engine: { generate, ask: (question, asking) => engine.ask(question, asking) } };
    }
    const failure = this.#failureOf(id);
    if (failure !== null) {
      throw new ToastError("engine_failed", failure);
    }
    const served = this.models.map((model) => model.id).join(", ");
    const message = `The model '${id.slice(0, 100)}' is not served here. Served: ${served}.`;
    throw new ToastError("model_not_found", message, { param: "model" });
  }

  #onlyId(): string {
    const [only, ...others] = this.#engines;
    const model = only === undefined ? null : modelIn(only.phase);
    if (model !== null && others.length === 0) return model.id;
    const served = this.models.map((model) => model.id).join(", ");
    const message = `'model' is missing; it must be the id of a served model. Served: ${served}.`;
    throw new ToastError("invalid_request", message, { param: "model" });
  }

  /** Why the model cannot be had, if it may be one of those that failed: one that never was ready may have any id. */
  #failureOf(id: string): string | null {
    for (const { phase } of this.#engines) {
      if (phase.kind === "closed") return "The engine is closed.";
      if (phase.kind !== "failed") continue;
      const { model = null, message } = phase;
      if (model === null || servedModelsOf(model).some((one) => one.id === id)) return message;
    }
    return null;
  }

  /** Cancels what runs and ends all workers. */
  async close(): Promise<void> {
    await Promise.all(this.#engines.map((engine) => engine.close()));
  }

  #entries(): readonly { readonly model: ServedModel; readonly engine: Engine }[] {
    return this.#engines.flatMap((engine) => {
      const base = modelIn(engine.phase);
      return base === null ? [] : servedModelsOf(base, this.#names).map((model) => ({ model, engine }));
    });
  }
}
