import { z } from "zod";
import { refuse, shownAs } from "./request-fields.js";

/**
 * A parameter that is accepted is honoured; the few below are accepted and ignored on purpose. Each says why nothing of
 * what the client may expect is lost.
 */
export const ignoredParameters = {
  /** Names the end user for OpenAI's abuse reports; this server reports to nobody. */
  user: z.unknown().optional(),
  /** The successor of `user`; as above. */
  safety_identifier: z.unknown().optional(),
  /** Labels for OpenAI's store of completions; nothing is stored here. */
  metadata: z.unknown().optional(),
  /** Hints for OpenAI's prompt cache; they change cost there, never text. */
  prompt_cache_key: z.unknown().optional(),
  prompt_cache_retention: z.unknown().optional(),
  prompt_cache_options: z.unknown().optional(),
  /** Whether OpenAI keeps the answer for later; nothing is kept here, which responses say (`store: false`). */
  store: z.unknown().optional(),
  /** How fast OpenAI answers, and at what price; there is one way here, which responses say. */
  service_tier: z.unknown().optional(),
  /** How long OpenAI's reasoning models think; the models served here have no thinking that could be set. */
  reasoning_effort: z.unknown().optional(),
  /** How wordy OpenAI's newest models are; a wish, which no other model hears. */
  verbosity: z.unknown().optional(),
  /** What the answer may look like, to be quicker; it changes no text. */
  prediction: z.unknown().optional(),
  /** Hints of llama.cpp and vLLM on caches, slots, queues, backends and timings; they change no text. */
  cache_prompt: z.unknown().optional(),
  id_slot: z.unknown().optional(),
  priority: z.unknown().optional(),
  request_id: z.unknown().optional(),
  timings_per_token: z.unknown().optional(),
  guided_decoding_backend: z.unknown().optional(),
  /** Blanks that only tokenizers without a tokenizer.json put between special tokens. */
  spaces_between_special_tokens: z.unknown().optional(),
};

/**
 * Known parameters that no endpoint honours. Each is accepted in the forms that ask for nothing (null, and the values
 * listed) and refused in every other: an answer without what was promised is worse than none.
 */
export const unsupportedParameters = {
  moderation: only([], "Moderation is not supported."),
  // Not OpenAI's, but widely sent: extensions of vLLM, llama.cpp and SGLang that would change the text or the answer.
  bad_words: only([[]], "'bad_words' is not supported; see 'logit_bias'."),
  use_beam_search: only([false], "Beam search is not supported."),
  length_penalty: only([1], "'length_penalty' belongs to beam search, which is not supported."),
  return_tokens_as_token_ids: only([false], "'return_tokens_as_token_ids' is not supported."),
  tfs_z: only([1], "Tail-free sampling is not supported: 'tfs_z' must be 1."),
  top_n_sigma: only([-1, 0], "'top_n_sigma' is not supported."),
  mirostat: only([0], "Mirostat is not supported: 'mirostat' must be 0."),
  dynatemp_range: only([0], "A dynamic temperature is not supported: 'dynatemp_range' must be 0."),
  xtc_probability: only([0], "XTC is not supported: 'xtc_probability' must be 0."),
  dry_multiplier: only([0], "DRY is not supported: 'dry_multiplier' must be 0."),
  repeat_last_n: only([-1], "'repeat_penalty' looks at the whole text here: 'repeat_last_n' must be -1."),
  samplers: only([], "The order of samplers is fixed here: leave 'samplers' out."),
  grammar_lazy: only([false], "Lazy grammars are not supported."),
  guided_whitespace_pattern: only([], "'guided_whitespace_pattern' is not supported."),
  structural_tag: only([], "'structural_tag' is not supported; see 'tools'."),
  logits_processors: only([[]], "'logits_processors' is not supported."),
  cache_salt: only([""], "Prefixes are kept for all callers alike: 'cache_salt' is not supported."),
  prompt_embeds: only([], "'prompt_embeds' is not supported."),
  extra_body: only(
    [{}],
    "'extra_body' is an argument of the Python client, which puts what it holds into the body itself: send those fields there.",
  ),
};

/** What chat completions and completions tell alone, in vLLM's shape. */
export const noTokenIds = {
  return_token_ids: only([false], "'return_token_ids' is not supported here; see POST /v1/chat/completions."),
};

/** Those that belong to chat. */
export const unsupportedChatParameters = {
  functions: only([[]], "'functions' is not supported; use 'tools'."),
  function_call: only(["none", "auto"], "'function_call' is not supported; use 'tool_choice'."),
  modalities: only([["text"]], "This server writes text only: 'modalities' must be ['text']."),
  audio: only([], "This server writes text only."),
  web_search_options: only([], "Web search is not supported."),
  echo: only([false], "'echo' is not supported for chat; see POST /v1/completions."),
  best_of: only([1], "'best_of' is not supported."),
  chat_template: only([], "The chat template is the model's own; it cannot be sent with a request."),
};

/** @returns a field that takes null and the values of `allowed`, compared one level deep, and refuses the rest. */
export function only(allowed: readonly Neutral[], message: string) {
  return shownAs(
    unless((value) => allowed.some((neutral) => isNeutral(value, neutral)), message),
    shapeOf(allowed).optional().describe(message),
  );
}

/** What the document of the interface says of such a field: null and the neutral values. */
function shapeOf(allowed: readonly Neutral[]): z.ZodType {
  return z.union([
    z.null(),
    ...allowed.map((neutral) => {
      if (Array.isArray(neutral)) return neutral.length === 0 ? z.array(z.unknown()).max(0) : z.array(z.enum(neutral));
      return typeof neutral === "object" ? z.strictObject({}) : z.literal(neutral as string | number | boolean);
    }),
  ]);
}

type Neutral = string | number | boolean | readonly string[] | Readonly<Record<string, never>>;

/**
 * By hand and shallow: JSON.stringify overflows the stack on a few megabytes of `[[[[`, which a client may well send.
 */
function isNeutral(value: unknown, neutral: Neutral): boolean {
  if (Array.isArray(neutral)) {
    return Array.isArray(value) && value.length === neutral.length && neutral.every((item, at) => item === value[at]);
  }
  if (typeof neutral === "object") {
    return isObject(value) && !Array.isArray(value) && Object.keys(value).length === 0;
  }
  return value === neutral;
}

function unless(asksForNothing: (value: unknown) => boolean, message: string) {
  return z
    .unknown()
    .optional()
    .transform((value, context) => {
      if (value === undefined || value === null || asksForNothing(value)) {
        return null;
      }
      return refuse(context, message);
    });
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
