import { z } from "zod";
import type { ServedModel } from "../engine/served-model.js";
import { ToastError } from "../errors.js";
import { type SamplingRequest, samplingFields } from "../openai/generation-fields.js";
import { jsonConstraint, jsonSchema } from "../openai/output-constraint.js";
import { only } from "../openai/parameter-policy.js";
import { field, flag, integer, optional, shownAs } from "../openai/request-fields.js";
import { steeringField } from "../openai/steering-field.js";

const { temperature, top_k, top_p, min_p, seed, stop, repeat_penalty, presence_penalty, frequency_penalty } =
  samplingFields;

/** About Ollama's own memory, devices and threads: they change no text. */
const ofMachines = {
  numa: z.unknown().optional(),
  num_batch: z.unknown().optional(),
  num_gpu: z.unknown().optional(),
  main_gpu: z.unknown().optional(),
  low_vram: z.unknown().optional(),
  use_mmap: z.unknown().optional(),
  use_mlock: z.unknown().optional(),
  num_thread: z.unknown().optional(),
  /** How much of a prompt stays when it is cut; nothing is cut here. */
  num_keep: z.unknown().optional(),
  /** Of mirostat, which is refused. */
  mirostat_tau: z.unknown().optional(),
  mirostat_eta: z.unknown().optional(),
};

const options = z.object(
  {
    temperature,
    top_k,
    top_p,
    min_p,
    seed,
    stop,
    repeat_penalty,
    presence_penalty,
    frequency_penalty,
    num_predict: optional(
      z
        .int(field("an integer"))
        .refine((count) => count >= 1 || count === -1 || count === -2, "must be 1 or more, or -1 or -2 for no limit."),
    ).describe("Tokens to write at most; -1 and -2: what the context has room for."),
    num_ctx: optional(integer(1)).describe("A context of so many tokens, which the model must have."),
    repeat_last_n: only([-1], "'repeat_penalty' looks at the whole text here: 'repeat_last_n' must be -1."),
    typical_p: only([1], "Typical sampling is not supported: 'typical_p' must be 1."),
    tfs_z: only([1], "Tail-free sampling is not supported: 'tfs_z' must be 1."),
    mirostat: only([0], "Mirostat is not supported: 'mirostat' must be 0."),
    penalize_newline: only([true], "Line breaks are penalized as other tokens are: leave 'penalize_newline' out."),
    ...ofMachines,
  },
  field("an object such as {temperature: 0.5}"),
);

/** `json`, or a JSON Schema; an empty text is how some clients leave it out. */
const format = shownAs(
  z
    .union(
      [z.literal(["json", ""]), z.null(), jsonSchema.transform((schema) => ({ schema }))],
      field("'json' or a JSON Schema"),
    )
    .optional()
    .transform((value) => (value === "" || value === undefined ? null : value)),
  z.union([z.literal(["json", ""]), z.looseObject({}), z.null()]).optional(),
);

/** Ollama's clients write a tag behind every name that has none. */
const defaultTag = ":latest";

export const modelField = optional(z.string(field("the name of a served model (see GET /api/tags)")))
  .transform((name) => (name?.endsWith(defaultTag) === true ? name.slice(0, -defaultTag.length) : name))
  .describe("May be left out where one model is served; `:latest` behind it is passed over.");

/** How long Ollama keeps a model in memory; here all that is served stays there. */
export const keepAlive = z.unknown().optional();

/** What Ollama's two ways to generate share. */
export const generatingFields = {
  model: modelField,
  stream: optional(flag()).describe("Default: true."),
  options: optional(options),
  format,
  steering: optional(steeringField),
  think: only([false], "No model served here thinks: 'think' must be false."),
  logprobs: only([false], "'logprobs' is not supported here; see POST /v1/chat/completions."),
  top_logprobs: only([0], "'top_logprobs' is not supported here; see POST /v1/chat/completions."),
  keep_alive: keepAlive,
};

type GeneratingRequest = z.output<z.ZodObject<typeof generatingFields>>;

/** All of them left out. */
const nothingSaid = z.object(samplingFields).parse({});

/**
 * The request in the words of the other doors.
 * @throws ToastError `invalid_request` for a context that the model does not have.
 */
export function samplingOf(request: GeneratingRequest, { base }: ServedModel): SamplingRequest {
  const { num_ctx: context = null, num_predict: _, ...sampling } = request.options ?? {};
  if (context !== null && context > base.contextLength) {
    const message = `'num_ctx' asks for ${context} tokens; the context of '${base.id}' has ${base.contextLength}.`;
    throw new ToastError("invalid_request", message, { param: "options.num_ctx" });
  }
  const known = Object.fromEntries(Object.entries(sampling).filter(([name]) => name in nothingSaid));
  return { ...nothingSaid, ...known, model: request.model, stream: request.stream, steering: request.steering };
}

export function maxTokensOf({ options }: GeneratingRequest): number | null {
  const most = options?.num_predict ?? null;
  return most === null || most < 0 ? null : most;
}

export function constraintOf({ format }: GeneratingRequest) {
  if (format === null) return null;
  return jsonConstraint(format === "json" ? null : format.schema, "format");
}

/** Ollama streams unless it is told otherwise. */
export function streamed<Request extends { readonly stream: boolean | null }>(request: Request): Request {
  return { ...request, stream: request.stream ?? true };
}

export const imagesField = only([[]], "Images are not supported: this server reads text only.");
