import type { AdapterPresentation, SamplingDefaults } from "../model/manifest.js";
import type { LayerRange } from "../steering/steering.js";
import type { CallFormat } from "../text/tool-call-format.js";

/** One served adapter, as the engine reports it. */
export interface AdapterInfo {
  readonly name: string;
  readonly stage: string;
  readonly licence: string | null;
  readonly presentation: AdapterPresentation;
  /** Short content hash: names what steered an answer (`system_fingerprint`). */
  readonly fingerprint: string;
  /** How calls stand in its answers; absent: in our own format. */
  readonly calls?: CallFormat;
}

/** One control vector that requests can name. */
export interface VectorInfo {
  readonly name: string;
  /** That it has directions for, both ends included; what a request gets that names none. */
  readonly layers: LayerRange;
  /** Short content hash: names what steered an answer (`system_fingerprint`). */
  readonly fingerprint: string;
}

/** One loaded model folder. */
export interface ModelInfo {
  /** The base's model id. */
  readonly id: string;
  readonly layers: number;
  /** D */
  readonly hiddenSize: number;
  readonly contextLength: number;
  readonly vocabSize: number;
  readonly quantization: string;
  /** What applies where a request does not say. */
  readonly sampling: SamplingDefaults;
  readonly licence: string | null;
  readonly fingerprint: string;
  readonly adapters: readonly AdapterInfo[];
  readonly vectors: readonly VectorInfo[];
  /** How calls stand in the base's answers; absent: in our own format. */
  readonly calls?: CallFormat;
}
