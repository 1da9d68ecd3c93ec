import { z } from "zod";
import type { EmbeddedInput } from "../openai/embedding.js";
import { requestSchemas, responseSchemas } from "../openai/named-schemas.js";
import { field, flag, integer, optional, shownAs, text } from "../openai/request-fields.js";
import { steeringField } from "../openai/steering-field.js";
import { keepAlive, modelField } from "./request-options.js";

const shared = {
  model: modelField,
  steering: optional(steeringField),
  /** None of them changes what a text is embedded as. */
  options: z.unknown().optional(),
  keep_alive: keepAlive,
};

export const embedRequestSchema = z
  .object(
    {
      ...shared,
      input: shownAs(
        z.preprocess(
          (value) => (typeof value === "string" ? [value] : value),
          z.array(text(), field("a text, or an array of texts")),
        ),
        z.union([z.string(), z.array(z.string())]),
      ),
      truncate: optional(flag()).describe(
        "Nothing is cut here in any case: a longer text than the context is refused.",
      ),
      dimensions: optional(integer(1)).describe("The model's own number or nothing: vectors are not cut."),
    },
    field("a JSON object"),
  )
  .describe("Body of POST /api/embed.")
  .register(requestSchemas, { id: "OllamaEmbedRequest" });

export const embedSchema = z
  .object({
    model: z.string(),
    embeddings: z.array(z.array(z.number())).describe("Each of length 1, in the order of the texts."),
    total_duration: z.int().describe("Nanoseconds."),
    load_duration: z.literal(0),
    prompt_eval_count: z.int(),
  })
  .describe("Answer of POST /api/embed.")
  .register(responseSchemas, { id: "OllamaEmbed" });

export const embeddingsRequestSchema = z
  .object({ ...shared, prompt: text("a text") }, field("a JSON object"))
  .describe("Body of POST /api/embeddings.")
  .register(requestSchemas, { id: "OllamaEmbeddingsRequest" });

export const embeddingsSchema = z
  .object({ embedding: z.array(z.number()) })
  .describe("Answer of POST /api/embeddings.")
  .register(responseSchemas, { id: "OllamaEmbeddings" });

/** @param milliseconds that it took. */
export function embedded(
  model: string,
  inputs: readonly EmbeddedInput[],
  milliseconds: number,
): z.input<typeof embedSchema> {
  return {
    model,
    embeddings: inputs.map(({ vector }) => [...vector]),
    total_duration: Math.round(milliseconds * 1e6),
    load_duration: 0,
    prompt_eval_count: inputs.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
  };
}
