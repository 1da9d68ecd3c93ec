import { createHash, randomBytes } from "node:crypto";
import { z } from "zod";
import type { ServedModel } from "../engine/served-model.js";
import { type Steering, type VectorUse, vectorsOf } from "../steering/steering.js";

/** What steered an answer, as the client is told; null: nothing, the base model spoke. */
const layerRange = z.tuple([z.int(), z.int()]);

export const steeringReportSchema = z
  .object({
    adapter: z.string().optional().describe("Left out, with strength and layers, where control vectors alone steered."),
    strength: z.number().optional(),
    layers: layerRange.optional(),
    vectors: z
      .array(z.object({ name: z.string(), strength: z.number(), layers: layerRange }))
      .optional()
      .describe("Left out where none steered."),
  })
  .nullable()
  .describe("What steered the answer; null: nothing, the base model spoke.");

type SteeringReport = z.output<typeof steeringReportSchema>;

/** What all chunks of an answer share. */
export interface ResponseHead {
  readonly id: string;
  /** Unix seconds. */
  readonly created: number;
  /** The served id that the client asked for, never a path. */
  readonly model: string;
  readonly systemFingerprint: string;
  readonly steering: SteeringReport;
}

/**
 * @param kind what the id begins with, as OpenAI's do.
 * @returns the head of a new answer; its id is unique.
 */
export function responseHead(
  kind: "chatcmpl" | "cmpl" | "resp" | "msg",
  model: ServedModel,
  steering: Steering,
  now: Date,
): ResponseHead {
  return {
    id: newId(kind),
    created: Math.floor(now.getTime() / 1000),
    model: model.id,
    systemFingerprint: systemFingerprint(model, steering),
    steering: steeringReport(steering),
  };
}

/** @returns `kind-…`, unique; OpenAI parts the newer kinds with `_`. */
export function newId(kind: "chatcmpl" | "cmpl" | "resp" | "msg" | "fc" | "toolu"): string {
  return `${kind}${kind === "chatcmpl" || kind === "cmpl" ? "-" : "_"}${randomBytes(16).toString("hex")}`;
}

/** @returns what the client is told of it. */
export function steeringReport(steering: Steering): SteeringReport {
  switch (steering.kind) {
    case "plain":
      return null;
    case "vectors":
      return reportOfVectors(steering.vectors);
    case "steered": {
      const { adapter, strength, layers, vectors } = steering;
      return { adapter, strength, layers: [...layers], ...reportOfVectors(vectors) };
    }
  }
}

function reportOfVectors(vectors: readonly VectorUse[]): Pick<NonNullable<SteeringReport>, "vectors"> {
  if (vectors.length === 0) return {};
  return { vectors: vectors.map(({ name, strength, layers }) => ({ name, strength, layers: [...layers] })) };
}

/**
 * Everything beside the request that decides the text: weights, adapter and control vectors, with strength and layers.
 */
export function systemFingerprint({ base }: ServedModel, steering: Steering): string {
  const hash = createHash("sha256").update(base.fingerprint);
  if (steering.kind === "steered") {
    const adapter = base.adapters.find(({ name }) => name === steering.adapter);
    hash.update(`:${adapter?.fingerprint ?? steering.adapter}:${steering.strength}:${steering.layers.join("-")}`);
  }
  for (const { name, strength, layers } of vectorsOf(steering)) {
    const vector = base.vectors.find((known) => known.name === name);
    hash.update(`+${vector?.fingerprint ?? name}:${strength}:${layers.join("-")}`);
  }
  return `fp_${hash.digest("hex").slice(0, 12)}`;
}
