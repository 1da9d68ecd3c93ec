import * as ort from "onnxruntime-node";
import { ToastError } from "../errors.js";
import { exactProducts } from "./exact-products.js";

/** A tensor as plain data. `data` is read in place by the native run: it must not change until the run has resolved. */
export type TensorValue =
  | { readonly type: "float32"; readonly data: Float32Array; readonly dims: readonly number[] }
  | { readonly type: "int64"; readonly data: BigInt64Array; readonly dims: readonly number[] };

export interface OnnxSessionOptions {
  /** Threads that share one forward; undefined: onnxruntime's choice (physical cores). */
  readonly threads?: number | undefined;
}

/**
 * The door to onnxruntime-node. `run` is native code that blocks the thread it is called on, which is why sessions
 * live in the engine worker.
 */
export class OnnxSession {
  readonly #session: ort.InferenceSession;
  readonly #path: string;
  #runMs = 0;

  private constructor(session: ort.InferenceSession, path: string) {
    this.#session = session;
    this.#path = path;
  }

  /** @throws ToastError `engine_failed` when onnxruntime refuses the graph. */
  static async load(path: string, options: OnnxSessionOptions): Promise<OnnxSession> {
    try {
      const session = await ort.InferenceSession.create(path, {
        ...(options.threads === undefined ? {} : { intraOpNumThreads: options.threads }),
        ...(await exactProducts()),
        executionMode: "sequential",
        graphOptimizationLevel: "all",
        logSeverityLevel: 3,
      });
      return new OnnxSession(session, path);
    } catch (cause) {
      // What the rewriting says of weights or zero points that two layers share.
      if (messageOf(cause).includes("Attempt to replace the existing tensor")) {
        const message = `${path} was made by an earlier converter, for processors with VNNI: convert the model again`;
        throw new ToastError("engine_failed", message, { cause });
      }
      throw new ToastError("engine_failed", `onnxruntime could not load ${path}: ${messageOf(cause)}`, { cause });
    }
  }

  /**
   * Milliseconds spent inside the binding's run, in all: the native graph, its turn of the event loop, and the copies
   * of its outputs.
   */
  get runMs(): number {
    return this.#runMs;
  }

  get inputNames(): readonly string[] {
    return this.#session.inputNames;
  }

  get outputNames(): readonly string[] {
    return this.#session.outputNames;
  }

  /**
   * @param fetches names of the outputs that are wanted; default: all.
   * @returns float32 outputs by name; each is a fresh array that the caller owns.
   * @throws ToastError `engine_failed`
   */
  async run(
    feeds: Readonly<Record<string, TensorValue>>,
    fetches: readonly string[] = this.outputNames,
  ): Promise<Readonly<Record<string, Float32Array>>> {
    const tensors: Record<string, ort.Tensor> = {};
    for (const [name, value] of Object.entries(feeds)) {
      tensors[name] = new ort.Tensor(value.type, value.data, value.dims);
    }
    let outputs: ort.InferenceSession.ReturnType;
    const startedAt = performance.now();
    try {
      outputs = await this.#session.run(tensors, fetches);
    } catch (cause) {
      throw new ToastError("engine_failed", `onnxruntime failed in ${this.#path}: ${messageOf(cause)}`, { cause });
    } finally {
      this.#runMs += performance.now() - startedAt;
    }
    const arrays: Record<string, Float32Array> = {};
    for (const [name, tensor] of Object.entries(outputs)) {
      if (!(tensor instanceof ort.Tensor) || tensor.type !== "float32") {
        throw new ToastError("engine_failed", `output ${name} of ${this.#path} is not a float32 tensor`);
      }
      arrays[name] = tensor.data as Float32Array;
    }
    return arrays;
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
