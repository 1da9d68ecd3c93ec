import { z } from "zod";
import { ToastError } from "../errors.js";
import { only } from "./parameter-policy.js";
import { field, flag, integer, number, optional, parseBody, shownAs, text } from "./request-fields.js";
import { steeringField } from "./steering-field.js";

/** OpenAI's limit. */
export const maxChoices = 128;

/** Alternatives that can be asked for at each token. */
export { maxLogprobs as maxTopLogprobs } from "../engine/generation-request.js";

const stopString = text().min(1, "must not be empty: an empty stop string matches everywhere.");
const stopStrings = z
  .array(stopString, field("a string or an array of up to 4 strings"))
  .max(4, "takes up to 4 strings.");

const streamOptions = z.object(
  {
    include_usage: optional(flag()).describe("Adds one last chunk with `usage` and no choices."),
    include_obfuscation: only([false], "Stream obfuscation is not supported."),
  },
  field("an object"),
);

/**
 * JSON has no integer keys: ids are written as strings. That they lie in the vocabulary is checked where that is known.
 */
const logitBias = z
  .record(z.string(), number(-100, 100), field("an object of token ids and numbers, {'15043': -100} say"))
  .transform((biases, context) =>
    Object.entries(biases).map(([key, bias]): readonly [number, number] => {
      if (!/^(0|[1-9]\d{0,8})$/.test(key)) {
        const shown = key.slice(0, 40);
        context.addIssue({ code: "custom", message: `must have token ids as keys, and '${shown}' is none.` });
        return z.NEVER;
      }
      return [Number(key), bias];
    }),
  );

/** What decides how tokens are drawn: the same on every generating endpoint. */
export const samplingFields = {
  model: z.string(field("the id of a served model (see GET /v1/models)")),
  stream: optional(flag()),
  temperature: optional(number(0, 2)).describe(
    "0 takes the likeliest token; default: what the model recommends, else 1.",
  ),
  top_p: optional(number(0, 1)),
  top_k: optional(integer(-1)).describe("Candidates kept; 0 and -1 keep all."),
  min_p: optional(number(0, 1).refine((value) => value < 1, "must be below 1.")).describe(
    "A candidate needs this share of the likeliest one's probability.",
  ),
  presence_penalty: optional(number(-2, 2)),
  frequency_penalty: optional(number(-2, 2)),
  // Beyond these bounds the products of a few hundred repetitions leave the range of a float.
  repetition_penalty: optional(number(0.01, 10)),
  logit_bias: optional(logitBias).describe("Added to the logits of tokens, by id, -100 to 100."),
  // Not z.int(): OpenAI documents 64-bit seeds, which JSON parsing has already rounded to the nearest double.
  seed: optional(z.number(field("an integer")).refine(Number.isInteger, "must be an integer.")).describe(
    "Same seed, same text.",
  ),
  stop: shownAs(
    optional(z.preprocess((value) => (typeof value === "string" ? [value] : value), stopStrings)),
    z.union([z.string(), z.array(z.string()).max(4), z.null()]).optional(),
  ),
  ignore_eos: optional(flag()).describe("Go on after the end-of-sequence token."),
  min_tokens: optional(integer(0)).describe("Tokens before which the text does not end by itself."),
  stop_token_ids: optional(
    z.array(integer(0), field("an array of token ids")).max(64, "takes up to 64 token ids."),
  ).describe("Tokens that end the text as an end of sequence does."),
  steering: optional(steeringField),
};

/** What chat completions and completions share beside the sampling. */
export const generationFields = {
  ...samplingFields,
  stream_options: optional(streamOptions),
  n: optional(integer(1, maxChoices)).describe("Answers to the one prompt."),
};

/** What every generating endpoint knows of its request. */
export type SamplingRequest = z.output<z.ZodObject<typeof samplingFields>>;

/**
 * Checks a body and what its fields say of each other.
 * @throws ToastError `invalid_request` or `unsupported_parameter`, with the `param` at fault.
 */
export function parseGenerationBody<
  Schema extends z.ZodType<{ readonly stream: boolean | null; readonly stream_options: object | null }>,
>(schema: Schema, body: unknown): z.output<Schema> {
  const request = parseBody(schema, body);
  if (request.stream_options !== null && request.stream !== true) {
    throw new ToastError("invalid_request", "'stream_options' is allowed only together with 'stream': true.", {
      param: "stream_options",
    });
  }
  return request;
}
