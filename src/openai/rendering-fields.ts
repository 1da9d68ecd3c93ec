import { z } from "zod";
import type { Rendering } from "../engine/prompt.js";
import { ToastError } from "../errors.js";
import { table } from "./list-fields.js";
import { field, flag, optional, shownAs } from "./request-fields.js";

/** What the server itself hands to every template; a request cannot put its own in their place. */
const ownVariables: ReadonlySet<string> = new Set([
  "messages",
  "tools",
  "documents",
  "add_generation_prompt",
  "bos_token",
  "eos_token",
  "raise_exception",
  "strftime_now",
]);

// Scalars only: templates ask for no more, and a deep value would have to be copied between threads.
const templateVariable = z.union([z.string(), z.number(), z.boolean(), z.null()], field("text, a number or a boolean"));

const templateVariables = shownAs(
  table(templateVariable, "an object").superRefine((variables, context) => {
    const taken = Object.keys(variables).find((name) => ownVariables.has(name));
    if (taken !== undefined)
      context.addIssue({ code: "custom", message: `cannot set '${taken}', which the server sets.` });
  }),
  z.record(z.string(), templateVariable),
);

/** How a chat template writes the messages: vLLM's fields, wherever messages are taken. */
export const renderingFields = {
  add_generation_prompt: optional(flag()).describe("Whether the prompt ends where an answer begins; default true."),
  continue_final_message: optional(flag()).describe("Go on with the last message instead of answering it."),
  chat_template_kwargs: optional(templateVariables).describe("Variables of the chat template's own."),
};

/** @throws ToastError `invalid_request` when an answer is asked for and none. */
export function renderingOf(request: z.output<z.ZodObject<typeof renderingFields>>): Rendering {
  const continueFinalMessage = request.continue_final_message ?? false;
  if (continueFinalMessage && request.add_generation_prompt === true) {
    throw new ToastError(
      "invalid_request",
      "'continue_final_message' goes on with the last message, 'add_generation_prompt' begins an answer to it: set one of them.",
      { param: "add_generation_prompt" },
    );
  }
  return {
    addGenerationPrompt: request.add_generation_prompt ?? !continueFinalMessage,
    continueFinalMessage,
    variables: request.chat_template_kwargs ?? {},
  };
}
