import { z } from "zod";
import { ToastError } from "../../errors.js";
import { errorEnvelopeSchema } from "../../openai/error-envelope.js";
import { list, mostItems } from "../../openai/list-fields.js";
import { requestSchemas, responseSchemas } from "../../openai/named-schemas.js";
import { field, flag, integer, optional, text } from "../../openai/request-fields.js";
import { sideLimits, type VectorSides } from "../../vectors/making/vector-recipe.js";
import { mostText, vectorMethods } from "../../vectors/vector-file.js";
import type { VectorRecipe } from "../../vectors/vector-library.js";

const messages = list(
  z.strictObject(
    {
      role: z.enum(["system", "user", "assistant"], field("'system', 'user' or 'assistant'")),
      content: text(),
    },
    field("a message such as {role: 'user', content: 'Hello'}"),
  ),
  { expected: "an array of messages", item: "message", max: mostItems },
);

const side = z.union(
  [text(), list(text(), { expected: "an array of texts", item: "text", max: mostItems })],
  field("a description such as 'a pirate', or an array of example texts"),
);

const limited = (most: number) => text().max(most, `must have ${most} characters at most.`);

const modelField = optional(text("the id of a served model, without an adapter (see GET /v1/models)")).describe(
  "The base's id; may be left out where the server has one model only.",
);
const nameField = text("a name for the vector");

export const uploadFieldsSchema = z.object({ model: modelField, name: optional(nameField) }, field("a form"));

export const makeVectorSchema = z
  .strictObject(
    {
      name: nameField.describe("What requests will call it: letters, digits, '.', '_' and '-'."),
      model: modelField,
      positive: optional(side).describe(
        "What a positive strength makes of the model: a description that stands behind 'Act as if you are …', or example texts.",
      ),
      negative: optional(side).describe("The other side, of the same kind."),
      pairs: optional(
        list(
          z.strictObject({ positive: messages, negative: messages }, field("an object with positive and negative")),
          { expected: "an array of pairs of conversations", item: "pair", max: mostItems },
        ),
      ).describe(
        "Instead of both: conversations in pairs that differ in what the vector is to steer. A last message of the assistant is read as a whole, behind any other the place where the answer begins.",
      ),
      method: optional(z.enum(vectorMethods, field("'mean' or 'pca'"))).describe(
        "mean (default): the difference of the two sides' means. pca: the first principal component of the differences, as long.",
      ),
      layers: optional(z.tuple([integer(0), integer(0)], field("[from, to], two layer numbers"))).describe(
        "Layers to find directions for, both ends included; 1 is the lowest. Default: from a quarter to seven tenths of the depth.",
      ),
      description: optional(limited(mostText.description)),
      example_prompt: optional(limited(mostText.examplePrompt)),
      sweep: optional(flag()).describe("Whether strengths are tried, for the recommended range; default: true."),
      stream: optional(flag()).describe("Whether progress is sent as server-sent events, the vector last."),
    },
    field("a JSON object"),
  )
  .register(requestSchemas, { id: "VectorRecipe" });

export const renameVectorSchema = z
  .strictObject(
    { name: text("the vector's new name").describe("Letters, digits, '.', '_' and '-'.") },
    field("a JSON object"),
  )
  .register(requestSchemas, { id: "VectorName" });

/** @throws ToastError `invalid_request` for sides of two kinds or none. */
export function recipeOf(request: z.output<typeof makeVectorSchema>): VectorRecipe {
  const { layers } = request;
  if (layers !== null && layers[0] > layers[1]) throw wrong("'layers' must be [from, to] with from ≤ to.", "layers");
  return {
    model: request.model,
    name: request.name,
    sides: sidesOf(request),
    method: request.method ?? "mean",
    layers,
    description: request.description,
    examplePrompt: request.example_prompt,
    sweep: request.sweep ?? true,
  };
}

function sidesOf({ positive, negative, pairs }: z.output<typeof makeVectorSchema>): VectorSides {
  if (pairs !== null) {
    if (positive !== null || negative !== null) {
      throw wrong("Give either 'pairs', or 'positive' and 'negative', not both.", "pairs");
    }
    return { kind: "chats", pairs };
  }
  if (positive === null || negative === null) {
    const missing = positive === null ? "positive" : "negative";
    const message = `'${missing}' is missing: give 'positive' and 'negative' (two descriptions such as 'a pirate' and 'an ordinary person', or two lists of ${sideLimits.fewest} texts or more), or 'pairs'.`;
    throw wrong(message, missing);
  }
  if (typeof positive === "string" && typeof negative === "string") return { kind: "personas", positive, negative };
  if (typeof positive !== "string" && typeof negative !== "string") return { kind: "texts", positive, negative };
  throw wrong("'positive' and 'negative' must be of one kind: two descriptions, or two lists of texts.", "negative");
}

function wrong(message: string, param: string): ToastError {
  return new ToastError("invalid_request", message, { param });
}

const share = z.number().nullable();

export const vectorSchema = z
  .object({
    id: z.string(),
    object: z.literal("vector"),
    model: z.string().describe("The base's id."),
    name: z.string().describe("What `steering.vectors` calls it."),
    description: z.string().nullable().describe("What it makes of the model's text."),
    example_prompt: z.string().nullable().describe("A prompt that shows it."),
    layers: z.tuple([z.int(), z.int()]).describe("That it has directions for, both ends included."),
    recommended: z
      .tuple([z.number(), z.number()])
      .nullable()
      .describe("Strengths between which the text held together when it was tried; null: it was not, or at none."),
    method: z.enum(vectorMethods).nullable().describe("How it was made; null: elsewhere."),
    norm_share: share.describe(
      "Length of what strength 1 adds behind a layer, over the mean length of that layer's outputs; mean of the layers.",
    ),
    separation: share.describe(
      "How well it tells the two sides apart on examples that had no part in it: area under the ROC curve, mean of the layers; 0.5 is chance.",
    ),
    layer_norm_shares: z.array(z.number()).nullable().describe("The same for each layer with a direction."),
    layer_separations: z.array(z.number()).nullable(),
    origin: z.enum(["model_folder", "watched_folder", "upload"]),
    fingerprint: z.string(),
  })
  .describe("A control vector that is served.")
  .register(responseSchemas, { id: "Vector" });

export const madeVectorSchema = vectorSchema
  .extend({
    sweep: z
      .array(
        z.object({
          strength: z.number(),
          perplexity: z.number().describe("The base's, of texts about neutral prompts."),
          repetition: z.number().describe("Share of their 4-grams that had been there before."),
          coherent: z.boolean().describe("Whether the text holds together, as both figures say."),
        }),
      )
      .nullable()
      .optional()
      .describe("What was measured at each strength, of a vector that was made here now; null: it was not asked for."),
  })
  .register(responseSchemas, { id: "MadeVector" });

export const vectorEventSchema = z
  .union([
    z.object({
      object: z.literal("vector.progress"),
      stage: z.enum(["reading", "sweeping"]),
      done: z.int(),
      total: z.int(),
    }),
    madeVectorSchema,
    errorEnvelopeSchema,
  ])
  .register(responseSchemas, { id: "VectorEvent" });

export const vectorListSchema = z
  .object({
    object: z.literal("list"),
    data: z.array(vectorSchema),
    problems: z
      .array(z.object({ path: z.string(), message: z.string() }))
      .describe("Files that are not served, and why; by their place in the vectors folder."),
  })
  .register(responseSchemas, { id: "VectorList" });

export const removedVectorSchema = z
  .object({
    id: z.string(),
    object: z.literal("vector"),
    deleted: z.literal(true),
    files: z.enum(["removed", "kept"]),
  })
  .register(responseSchemas, { id: "RemovedVector" });
