import { z } from "zod";
import { ToastError } from "../errors.js";
import { list, table, tokenIds } from "./list-fields.js";
import { only } from "./parameter-policy.js";
import { field, flag, integer, number, optional, parseBody, shownAs, text } from "./request-fields.js";
import { steeringField } from "./steering-field.js";

/** OpenAI's limit. */
export const maxChoices = 128;

/** Alternatives that can be asked for at each token. */
export { maxLogprobs as maxTopLogprobs } from "../engine/generation-request.js";

const stopString = text().min(1, "must not be empty: an empty stop string matches everywhere.");
/** OpenAI takes 4, vLLM any number; each costs a step for every character. */
const maxStops = 64;
const stopStrings = list(stopString, { expected: "a string or an array of strings", item: "string", max: maxStops });

const streamOptions = z.object(
  {
    include_usage: optional(flag()).describe("Adds one last chunk with `usage` and no choices."),
    /** Padding against who measures packets; it changes no text, and there is none. */
    include_obfuscation: optional(flag()),
    continuous_usage_stats: only([false], "'stream_options.continuous_usage_stats' is not supported."),
  },
  field("an object"),
);

/**
 * JSON has no integer keys: ids are written as strings. That they lie in the vocabulary is checked where that is known.
 */
const logitBias = table(number(-100, 100), "an object of token ids and numbers, {'15043': -100} say").transform(
  (biases, context) =>
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
  model: optional(z.string(field("the id of a served model (see GET /v1/models)"))).describe(
    "May be left out where one model is served.",
  ),
  stream: optional(flag()),
  temperature: optional(number(0, 2)).describe(
    "0 takes the likeliest token; default: what the model recommends, else 1.",
  ),
  top_p: optional(number(0, 1)),
  top_k: optional(integer(-1)).describe("Candidates kept; 0 and -1 keep all."),
  min_p: optional(number(0, 1).refine((value) => value < 1, "must be below 1.")).describe(
    "A candidate needs this share of the likeliest one's probability.",
  ),
  typical_p: optional(number(0, 1).refine((value) => value > 0, "must be above 0.")).describe(
    "Mass of the tokens kept whose surprise is nearest to what was to be expected, among those the others leave.",
  ),
  presence_penalty: optional(number(-2, 2)),
  frequency_penalty: optional(number(-2, 2)),
  // Beyond these bounds the products of a few hundred repetitions leave the range of a float.
  repetition_penalty: optional(number(0.01, 10)),
  repeat_penalty: optional(number(0.01, 10)).describe("llama.cpp's name of `repetition_penalty`."),
  logit_bias: optional(logitBias).describe("Added to the logits of tokens, by id, -100 to 100."),
  allowed_token_ids: optional(tokenIds({ min: 1 })).describe(
    "The only tokens that may be drawn; an end of sequence only if it is among them.",
  ),
  // Not z.int(): OpenAI documents 64-bit seeds, which JSON parsing has already rounded to the nearest double.
  seed: optional(z.number(field("an integer")).refine(Number.isInteger, "must be an integer.")).describe(
    "Same seed, same text.",
  ),
  stop: shownAs(
    optional(z.preprocess((value) => (typeof value === "string" ? [value] : value), stopStrings)),
    z.union([z.string(), z.array(z.string()).max(maxStops), z.null()]).optional(),
  ),
  ignore_eos: optional(flag()).describe("Go on after the end-of-sequence token."),
  min_tokens: optional(integer(0)).describe("Tokens before which the text does not end by itself."),
  stop_token_ids: optional(tokenIds({ max: 64 })).describe("Tokens that end the text as an end of sequence does."),
  include_stop_str_in_output: optional(flag()).describe("Whether the stop string that ends the text is part of it."),
  skip_special_tokens: optional(flag()).describe("Whether special tokens are left out of the text; default true."),
  truncate_prompt_tokens: optional(integer(-1).refine((count) => count !== 0, "must not be 0.")).describe(
    "Tokens of the prompt's end that are kept; -1: as many as the context has room for.",
  ),
  steering: optional(steeringField),
};

/** A number of tokens at most; −1, as llama.cpp and vLLM have it, is no limit. */
export function tokenLimit(least: 0 | 1) {
  const expected = `an integer of at least ${least}, or -1 for no limit`;
  return z.int(field(expected)).refine((count) => count === -1 || count >= least, `must be ${expected}.`);
}

/** @returns null for no limit. */
export function limitOf(limit: number | null): number | null {
  return limit === -1 ? null : limit;
}

/** What chat completions and completions share beside the sampling. */
export const generationFields = {
  ...samplingFields,
  stream_options: optional(streamOptions),
  n: optional(integer(1, maxChoices)).describe("Answers to the one prompt."),
  return_token_ids: optional(flag()).describe("vLLM's: `prompt_token_ids`, and each choice's `token_ids`."),
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
