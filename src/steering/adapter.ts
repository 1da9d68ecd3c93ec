import type { AdapterManifest } from "../model/manifest.js";
import { OnnxSession, type OnnxSessionOptions } from "../model/onnx-session.js";
import { adapterInputs, adapterOutputs } from "../model/tensor-names.js";

export interface TopDown {
  /** float32 [N]: how much each token matters to the task, 0…1. */
  readonly relevance: Float32Array;
  /** float32 [L,N,kv]: what the steered pass adds to its values. */
  readonly topDownValues: Float32Array;
}

/** A steering adapter: selects features of bottom-up hidden states and feeds them back. */
export class Adapter {
  readonly manifest: AdapterManifest;
  readonly #session: OnnxSession;

  private constructor(session: OnnxSession, manifest: AdapterManifest) {
    this.#session = session;
    this.manifest = manifest;
  }

  /** @throws ToastError `engine_failed` */
  static async load(graphPath: string, manifest: AdapterManifest, options: OnnxSessionOptions): Promise<Adapter> {
    return new Adapter(await OnnxSession.load(graphPath, options), manifest);
  }

  /** Milliseconds spent in the graph so far. */
  get graphMs(): number {
    return this.#session.runMs;
  }

  /**
   * @param hiddenStates float32 [N,D] of the bottom-up pass, before the final norm.
   * @param gains float32 [N,L]
   * @throws ToastError `engine_failed`
   */
  async topDown(hiddenStates: Float32Array, gains: Float32Array): Promise<TopDown> {
    const { hiddenSize, layers } = this.manifest.shape;
    const tokens = hiddenStates.length / hiddenSize;
    const outputs = await this.#session.run({
      [adapterInputs.hiddenStates]: { type: "float32", data: hiddenStates, dims: [tokens, hiddenSize] },
      [adapterInputs.gains]: { type: "float32", data: gains, dims: [tokens, layers] },
    });
    const relevance = outputs[adapterOutputs.relevance];
    const topDownValues = outputs[adapterOutputs.topDownValues];
    if (relevance === undefined || topDownValues === undefined) {
      throw new Error(`the graph of adapter ${this.manifest.name} lacks an output`);
    }
    return { relevance, topDownValues };
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}
