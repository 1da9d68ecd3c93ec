import type { LlamaConfig } from "./llama-config.js";

/** Sizes of a decoder whose heads make up its width. */
interface Sizes
  extends Pick<LlamaConfig, "layers" | "hiddenSize" | "heads" | "kvHeads" | "vocabSize" | "contextLength"> {
  readonly intermediateSize: number;
  readonly tiedEmbeddings: boolean;
}

/** Decoders that can be measured without their weights: how fast one runs depends on its sizes alone. */
export const modelShapes = {
  "tinyllama-1.1b": shape({
    layers: 22,
    hiddenSize: 2048,
    heads: 32,
    kvHeads: 4,
    intermediateSize: 5632,
    vocabSize: 32000,
    contextLength: 2048,
    tiedEmbeddings: false,
  }),
  "llama-160m": shape({
    layers: 12,
    hiddenSize: 768,
    heads: 12,
    kvHeads: 12,
    intermediateSize: 3072,
    vocabSize: 32000,
    contextLength: 2048,
    tiedEmbeddings: false,
  }),
  "smollm2-135m": shape({
    layers: 30,
    hiddenSize: 576,
    heads: 9,
    kvHeads: 3,
    intermediateSize: 1536,
    vocabSize: 49152,
    contextLength: 2048,
    tiedEmbeddings: true,
  }),
  "llama-110m": shape({
    layers: 12,
    hiddenSize: 768,
    heads: 12,
    kvHeads: 12,
    intermediateSize: 2048,
    vocabSize: 32000,
    contextLength: 2048,
    tiedEmbeddings: false,
  }),
  /** For tests. */
  tiny: shape({
    layers: 2,
    hiddenSize: 64,
    heads: 4,
    kvHeads: 2,
    intermediateSize: 128,
    vocabSize: 512,
    contextLength: 512,
    tiedEmbeddings: false,
  }),
} as const;

export type ShapeName = keyof typeof modelShapes;
export const shapeNames = Object.keys(modelShapes) as readonly ShapeName[];

function shape(sizes: Sizes): LlamaConfig {
  return {
    ...sizes,
    headDim: sizes.hiddenSize / sizes.heads,
    rmsNormEps: 1e-5,
    ropeTheta: 10000,
    ropeScaling: { kind: "default" },
    attentionBias: false,
    mlpBias: false,
    bosTokenId: 1,
    eosTokenIds: [2],
    padTokenId: null,
  };
}
