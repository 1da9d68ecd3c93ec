import { z } from "zod";
import type { ServedModel } from "../engine/served-model.js";
import type { TokenizerInfo } from "../engine/text-questions.js";
import { requestSchemas, responseSchemas } from "../openai/named-schemas.js";
import { field } from "../openai/request-fields.js";
import { keepAlive, modelField } from "./request-options.js";

const detailsSchema = z.object({
  parent_model: z.string().describe("Of a steered model: its base."),
  format: z.literal("onnx"),
  family: z.literal("llama"),
  families: z.array(z.literal("llama")),
  parameter_size: z.literal("").describe("Not told."),
  quantization_level: z.string(),
});

const entry = {
  name: z.string(),
  model: z.string(),
  size: z.literal(0).describe("Not told."),
  digest: z.string().describe("Of weights and adapter, short."),
  details: detailsSchema,
};

export const tagListSchema = z
  .object({ models: z.array(z.object({ ...entry, modified_at: z.string() })) })
  .describe("Answer of GET /api/tags.")
  .register(responseSchemas, { id: "OllamaTags" });

export const processListSchema = z
  .object({
    models: z.array(
      z.object({
        ...entry,
        expires_at: z.string().describe("Never: all that is served stays in memory."),
        size_vram: z.literal(0),
      }),
    ),
  })
  .describe("Answer of GET /api/ps.")
  .register(responseSchemas, { id: "OllamaProcesses" });

const named = { model: modelField, name: modelField.describe("Older name of `model`.") };

export const showRequestSchema = z
  .object({ ...named, verbose: z.unknown().optional(), keep_alive: keepAlive }, field("a JSON object"))
  .describe("Body of POST /api/show.")
  .register(requestSchemas, { id: "OllamaShowRequest" });

export const showSchema = z
  .object({
    license: z.string(),
    modelfile: z.literal(""),
    parameters: z.string().describe("What the model recommends, a line each."),
    template: z.string().describe("Jinja."),
    details: detailsSchema,
    model_info: z.record(z.string(), z.union([z.string(), z.int()])),
    capabilities: z.array(z.enum(["completion", "tools", "embedding"])),
    modified_at: z.string(),
  })
  .describe("Answer of POST /api/show.")
  .register(responseSchemas, { id: "OllamaShow" });

export const pullRequestSchema = z
  .object({ ...named, stream: z.boolean().nullish(), insecure: z.unknown().optional() }, field("a JSON object"))
  .describe("Body of POST /api/pull.")
  .register(requestSchemas, { id: "OllamaPullRequest" });

export const statusSchema = z
  .object({ status: z.literal("success") })
  .describe("Answer of POST /api/pull, of a model that is there.")
  .register(responseSchemas, { id: "OllamaStatus" });

export const ollamaVersionSchema = z
  .object({ version: z.string() })
  .describe("Answer of GET /api/version: of this server, not of Ollama.")
  .register(responseSchemas, { id: "OllamaVersion" });

/** The last second that every reader of dates knows. */
const never = "9999-12-31T23:59:59Z";

/** @param since Unix seconds. */
export function tagList(models: readonly ServedModel[], since: number): z.input<typeof tagListSchema> {
  return { models: models.map((model) => ({ ...entryOf(model), modified_at: isoTime(since) })) };
}

export function processList(models: readonly ServedModel[]): z.input<typeof processListSchema> {
  return { models: models.map((model) => ({ ...entryOf(model), expires_at: never, size_vram: 0 })) };
}

export function shownModel(
  model: ServedModel,
  { chatTemplate }: TokenizerInfo,
  since: number,
): z.input<typeof showSchema> {
  const { base, adapter } = model;
  return {
    license: (adapter ?? base).licence ?? "",
    modelfile: "",
    parameters: Object.entries(base.sampling)
      .map(([name, value]) => `${name === "repetition_penalty" ? "repeat_penalty" : name} ${value}`)
      .join("\n"),
    template: chatTemplate ?? "",
    details: detailsOf(model),
    model_info: {
      "general.architecture": "llama",
      "general.basename": base.id,
      "llama.block_count": base.layers,
      "llama.context_length": base.contextLength,
      "llama.embedding_length": base.hiddenSize,
      "llama.vocab_size": base.vocabSize,
    },
    capabilities: ["completion", "tools", "embedding"],
    modified_at: isoTime(since),
  };
}

function entryOf(model: ServedModel) {
  const digest = model.base.fingerprint + (model.adapter?.fingerprint ?? "");
  return { name: model.id, model: model.id, size: 0, digest, details: detailsOf(model) } as const;
}

function detailsOf({ base, adapter }: ServedModel): z.input<typeof detailsSchema> {
  return {
    parent_model: adapter === null ? "" : base.id,
    format: "onnx",
    family: "llama",
    families: ["llama"],
    parameter_size: "",
    quantization_level: base.quantization,
  };
}

function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
