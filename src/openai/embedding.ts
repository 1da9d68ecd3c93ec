import { z } from "zod";
import type { ServedModel } from "../engine/served-model.js";
import type { Steering } from "../steering/steering.js";
import { responseSchemas } from "./named-schemas.js";
import { steeringReport, steeringReportSchema, systemFingerprint } from "./response-head.js";

const embeddingSchema = z
  .object({
    object: z.literal("embedding"),
    index: z.int().describe("Which of the inputs it is of, from 0."),
    embedding: z
      .union([z.array(z.number()), z.string()])
      .describe("A vector of length 1: numbers, or float32 in base64, little-endian."),
  })
  .register(responseSchemas, { id: "Embedding" });

export const embeddingListSchema = z
  .object({
    object: z.literal("list"),
    data: z.array(embeddingSchema).describe("In the order of the inputs."),
    model: z.string(),
    usage: z.object({ prompt_tokens: z.int(), total_tokens: z.int() }),
    system_fingerprint: z.string(),
    steering: steeringReportSchema,
  })
  .describe("Answer of POST /v1/embeddings.")
  .register(responseSchemas, { id: "EmbeddingList" });

/** Of one input. */
export interface EmbeddedInput {
  /** float32 [D] */
  readonly vector: Float32Array;
  readonly promptTokens: number;
}

/** @param inputs in their order. */
export function embeddingList(
  inputs: readonly EmbeddedInput[],
  { model, steering, format }: { model: ServedModel; steering: Steering; format: "float" | "base64" },
): z.input<typeof embeddingListSchema> {
  const tokens = inputs.reduce((sum, { promptTokens }) => sum + promptTokens, 0);
  const written = format === "base64" ? base64 : numbers;
  return {
    object: "list",
    data: inputs.map(({ vector }, index) => ({ object: "embedding", index, embedding: written(vector) })),
    model: model.id,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
    system_fingerprint: systemFingerprint(model, steering),
    steering: steeringReport(steering),
  };
}

/** Nine digits tell every float32 from every other. */
function numbers(vector: Float32Array): number[] {
  return Array.from(vector, (value) => Number(value.toPrecision(9)));
}

function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4);
  return bytes.toString("base64");
}
