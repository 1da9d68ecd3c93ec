import { z } from "zod";
import type { AdapterInfo } from "../engine/model-info.js";
import type { ServedModel } from "../engine/served-model.js";
import { responseSchemas } from "./named-schemas.js";

/** What people read of an adapter before they choose it. */
export const presentationFields = {
  description: z.string().nullable().describe("What it makes of the model's text."),
  example_prompt: z.string().nullable().describe("A prompt that shows it."),
  recommended_strength: z.number().nullable().describe("The strength at which it is at its best, if its makers say."),
};

export const presentationObject = ({ presentation }: AdapterInfo) => ({
  description: presentation.description,
  example_prompt: presentation.examplePrompt,
  recommended_strength: presentation.recommendedStrength,
});

export const modelSchema = z
  .object({
    id: z.string(),
    object: z.literal("model"),
    created: z.int().describe("Unix seconds."),
    owned_by: z.string(),
    root: z.string().describe("The base."),
    parent: z.string().nullable().describe("The base of a steered model; null for a base."),
    max_model_len: z.int(),
    layers: z.int(),
    quantization: z.string(),
    sampling: z
      .object({
        temperature: z.number(),
        top_p: z.number(),
        top_k: z.int(),
        min_p: z.number(),
        repetition_penalty: z.number(),
      })
      .partial()
      .describe("What applies where a request does not say, as far as the model recommends it."),
    licence: z.string().nullable(),
    steering: z.object({ adapter: z.string(), stage: z.string(), ...presentationFields }).nullable(),
  })
  .describe("A served model: OpenAI's four keys, and what a client of this server may want to know.")
  .register(responseSchemas, { id: "Model" });

export const modelListSchema = z
  .object({ object: z.literal("list"), data: z.array(modelSchema) })
  .describe("Answer of GET /v1/models.")
  .register(responseSchemas, { id: "ModelList" });

/** An entry of GET /v1/models. */
export function modelObject(model: ServedModel, created: number): z.input<typeof modelSchema> {
  return {
    id: model.id,
    object: "model",
    created,
    owned_by: "toast-serve",
    root: model.base.id,
    parent: model.adapter === null ? null : model.base.id,
    max_model_len: model.base.contextLength,
    layers: model.base.layers,
    quantization: model.base.quantization,
    sampling: model.base.sampling,
    licence: model.adapter === null ? model.base.licence : model.adapter.licence,
    steering:
      model.adapter === null
        ? null
        : { adapter: model.adapter.name, stage: model.adapter.stage, ...presentationObject(model.adapter) },
  };
}

export function modelList(models: readonly ServedModel[], created: number): z.input<typeof modelListSchema> {
  return { object: "list", data: models.map((model) => modelObject(model, created)) };
}

export const healthSchema = z
  .object({
    status: z.enum(["ready", "loading", "draining", "failed"]),
    running: z.int().optional().describe("Requests that are being answered."),
    models: z.array(z.string()).optional(),
    failures: z.array(z.string()).optional().describe("Why models are not served, if any is not."),
    stage: z.string().optional(),
    fraction: z.number().optional(),
    message: z.string().optional(),
  })
  .describe("Answer of GET /health: 200 when ready, else 503.")
  .register(responseSchemas, { id: "Health" });
