import type { BackboneManifest, ManifestFile, SamplingDefaults } from "../model/manifest.js";
import type { LlamaConfig } from "./llama-config.js";
import type { TensorRows } from "./weight-source.js";

/** A model to convert, wherever it comes from; checked, but for the values of its weights. */
export interface SourceModel {
  /** What it is called where nothing else is said. */
  readonly name: string;
  readonly config: LlamaConfig;
  readonly tokens: BackboneManifest["tokens"];
  /** The bytes of tokenizer.json. */
  readonly tokenizer: Uint8Array;
  /** Jinja source, or null when the source brings none. */
  readonly chatTemplate: string | null;
  /** What its makers recommend. */
  readonly sampling: SamplingDefaults;
  /** Free text or an SPDX id, or null. */
  readonly licence: string | null;
  /** What was left out of it, in sentences. */
  readonly warnings: readonly string[];
  /** Under Hugging Face's names (llama-tensors.ts). */
  readonly tensors: TensorRows;
  readonly valueProjections: SourceValueProjections;
  /** Of all tensors as stored: what `hash` reads. */
  readonly bytes: number;
  /**
   * Which frozen weights these are (see backbone-hash.ts).
   * @param onBytes called with the bytes hashed since the last call.
   */
  hash(onBytes?: (bytes: number) => void): Promise<string>;
  close(): Promise<void>;
}

/** W_v of a backbone's layers: what a steering adapter is folded with. */
export interface ValueProjections {
  /** float32 [kv,D] */
  read(layer: number): Promise<Float32Array>;
}

export type ProjectionShape = Pick<LlamaConfig, "layers" | "hiddenSize" | "kvHeads" | "headDim">;

export interface SourceValueProjections extends ValueProjections {
  /**
   * Copies them into a folder as the source stores them: an adapter folded with the copy later is the one that is
   * folded now.
   * @throws ToastError `corrupt_safetensors`, `corrupt_gguf`, `disk_full`, `write_failed`
   */
  copyTo(folder: string): Promise<ManifestFile>;
}

/** Those beside a converted backbone. */
export interface OpenValueProjections extends ValueProjections {
  close(): Promise<void>;
}
