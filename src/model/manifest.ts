import { createHash } from "node:crypto";
import { z } from "zod";

/**
 * Versions of the on-disk formats. A reader refuses any other. Backbones: 2 has weights in several files, 3 a graph
 * that control vectors can steer.
 */
export const backboneVersion = 3;
export const adapterVersion = 1;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "expected a lower-case hex sha256");
const file = z.strictObject({
  /** Plain file name inside the folder: no separators, so that a manifest cannot reach outside it. */
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "expected a plain file name"),
  bytes: z.int().nonnegative(),
  sha256,
});
const specialToken = z.strictObject({ id: z.int().nonnegative(), text: z.string() });

/** Letters, digits, dot, dash and underscore: a name stands in URLs, in `base:adapter` and in folder names. */
export const adapterNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/;
/** The same, with an organisation in front as a hub has it. */
export const modelIdPattern = /^(?=.{1,96}$)[A-Za-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*)?$/;
const adapterName = z.string().regex(adapterNamePattern, "expected letters, digits, '.', '_' or '-'");
const modelId = z.string().regex(modelIdPattern, "expected letters, digits, '.', '_' or '-', and one '/' at most");

export const quantizations = ["none", "int8", "int4"] as const;
/** `none`: fp32 weights. `int8`: W8A8 per token. `int4`: 4-bit weights in blocks (see docs/architecture.md). */
export type Quantization = (typeof quantizations)[number];

/** Sampling that a model recommends: what applies where a request does not say. In the words and bounds of the wire. */
export const samplingDefaultsSchema = z
  .strictObject({
    temperature: z.number().min(0).max(2),
    top_p: z.number().min(0).max(1),
    top_k: z.int().min(-1),
    min_p: z.number().min(0).lt(1),
    repetition_penalty: z.number().min(0.01).max(10),
  })
  .partial();
export type SamplingDefaults = Readonly<z.infer<typeof samplingDefaultsSchema>>;

/** manifest.json of a converted backbone folder. Shapes use the letters of tensor-names.ts. */
export const backboneManifestSchema = z.strictObject({
  format: z.literal("toast-serve/backbone"),
  version: z.literal(backboneVersion),
  /** The served model id. */
  id: modelId,
  /** Hash over the source weights (see convert/backbone-hash.ts); adapters are bound to it. */
  backboneSha256: sha256,
  architecture: z.strictObject({
    layers: z.int().positive(),
    hiddenSize: z.int().positive(),
    heads: z.int().positive(),
    kvHeads: z.int().positive(),
    headDim: z.int().positive(),
    vocabSize: z.int().positive(),
    contextLength: z.int().positive(),
  }),
  quantization: z.enum(quantizations),
  /** Channels of the residual stream that are kept turned together (see rotation.ts); 1: none are. */
  rotation: z.int().positive(),
  tokens: z.strictObject({
    bos: specialToken.nullable(),
    /** Generation stops at any of these. */
    eos: z.array(specialToken).min(1),
    pad: specialToken.nullable(),
  }),
  /** Jinja source, or null: chat requests then fail with `chat_template_missing`. */
  chatTemplate: z.string().nullable(),
  /** Absent in folders of converters that did not read it. */
  sampling: samplingDefaultsSchema.optional(),
  /** Free text or an SPDX id, as the source states it. */
  licence: z.string().nullable(),
  /**
   * The graph; its weights are external data in `weights`, several files. `valueProjections`: what later adapters are
   * folded with, if it was kept.
   */
  files: z.strictObject({
    graph: file,
    weights: z.array(file).min(1),
    tokenizer: file,
    valueProjections: file.optional(),
  }),
});
export type BackboneManifest = z.infer<typeof backboneManifestSchema>;
export type Architecture = BackboneManifest["architecture"];

export const featureScales = ["raw", "unit_rms"] as const;
/**
 * How large the features are that an adapter feeds back: as the bottom-up pass leaves them, or each token's brought to
 * unit RMS.
 */
export type FeatureScale = (typeof featureScales)[number];

/** What people read of an adapter before they choose it; null where its makers said nothing. */
export const adapterPresentationFields = {
  /** A sentence: what it makes of the model's text. */
  description: z.string().min(1).max(300).nullable(),
  /** A prompt that shows it. */
  examplePrompt: z.string().min(1).max(500).nullable(),
  /** The factor on the top-down values at which it is at its best; 1 is what was trained. */
  recommendedStrength: z.number().gt(0).max(4).nullable(),
};
const adapterPresentation = z.strictObject(adapterPresentationFields);
export type AdapterPresentation = Readonly<z.infer<typeof adapterPresentation>>;
export const noPresentation: AdapterPresentation = {
  description: null,
  examplePrompt: null,
  recommendedStrength: null,
};

/** manifest.json of a converted adapter folder, `<backbone>/adapters/<name>/`. */
export const adapterManifestSchema = z.strictObject({
  format: z.literal("toast-serve/adapter"),
  version: z.literal(adapterVersion),
  /** Served as `<base>:<name>`. */
  name: adapterName,
  backboneSha256: sha256,
  kind: z.enum(["full", "lite"]),
  rank: z.int().positive().nullable(),
  stage: z.enum(["initial", "pretuned", "tuned"]),
  /** Absent in older folders, which are all `raw`. */
  features: z.enum(featureScales).default("raw"),
  shape: z.strictObject({
    layers: z.int().positive(),
    hiddenSize: z.int().positive(),
    /** kv = KV·Hd */
    kvSize: z.int().positive(),
  }),
  quantization: z.enum(quantizations),
  /** Overrides the backbone's: an adapter speaks the format it was tuned on. */
  chatTemplate: z.string().nullable(),
  licence: z.string().nullable(),
  /** Absent in older folders. */
  presentation: adapterPresentation.default(noPresentation),
  files: z.strictObject({ graph: file, weights: file }),
});
export type AdapterManifest = z.infer<typeof adapterManifestSchema>;
export type ManifestFile = z.infer<typeof file>;

/** Twelve hexadecimal digits that tell these weights from others: of the file's hash, or of all files' hashes. */
export function fingerprintOf(weights: readonly ManifestFile[]): string {
  const [only, ...others] = weights.map(({ sha256: hash }) => hash);
  const hash =
    others.length === 0
      ? only
      : createHash("sha256")
          .update([only, ...others].join())
          .digest("hex");
  return (hash ?? "").slice(0, 12);
}
