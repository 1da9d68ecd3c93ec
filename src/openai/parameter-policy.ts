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
};

/**
 * Known parameters that no endpoint honours. Each is accepted in the forms that ask for nothing (null, and the values
 * listed) and refused in every other: an answer without what was promised is worse than none.
 */
export const unsupportedParameters = {
  store: only([false], "Nothing is stored here: leave 'store' out or set it to false."),
  service_tier: only(["auto", "default"], "There is one service tier: 'default'."),
  moderation: only([], "Moderation is not supported."),
  // Not OpenAI's, but widely sent: extensions of vLLM and its kin that would change the text.
  bad_words: only([[]], "'bad_words' is not supported."),
  use_beam_search: only([false], "Beam search is not supported."),
  length_penalty: only([1], "'length_penalty' belongs to beam search, which is not supported."),
};

/** Those that belong to chat. */
export const unsupportedChatParameters = {
  functions: only([[]], "'functions' is not supported; use 'tools'."),
  function_call: only(["none", "auto"], "'function_call' is not supported; use 'tool_choice'."),
  modalities: only([["text"]], "This server writes text only: 'modalities' must be ['text']."),
  audio: only([], "This server writes text only."),
  prediction: only([], "Predicted outputs are not supported."),
  web_search_options: only([], "Web search is not supported."),
  reasoning_effort: only(["none"], "The models served here have no reasoning effort to set."),
  verbosity: only(["medium"], "The models served here have no verbosity to set."),
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

export function unless(asksForNothing: (value: unknown) => boolean, message: string) {
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
