import type { ServingEngine } from "../engine/engine.js";
import { type RequestField, ToastError } from "../errors.js";

type WireFields = Readonly<Record<RequestField, string | null>>;

/** Of the endpoints that ask about tokens and templates, which generate nothing. */
const textOnly = {
  model: "model",
  prompt: null,
  "prompt.messages": null,
  "prompt.text": null,
  "prompt.ids": null,
  "prompt.rendering.continueFinalMessage": null,
  // Their requests name an adapter by the model's id alone.
  "steering.adapter": "model",
  "sampling.logitBias": null,
  "sampling.allowedTokens": null,
  stopStrings: null,
  stopTokenIds: null,
  minTokens: null,
  "report.logprobs": null,
  "report.promptLogprobs": null,
} as const satisfies WireFields;

/** Of the endpoints that generate. */
const generating = {
  ...textOnly,
  "steering.adapter": "steering.adapter",
  "sampling.logitBias": "logit_bias",
  "sampling.allowedTokens": "allowed_token_ids",
  stopStrings: "stop",
  stopTokenIds: "stop_token_ids",
  minTokens: "min_tokens",
} as const satisfies WireFields;

const conversation = {
  "prompt.messages": "messages",
  "prompt.rendering.continueFinalMessage": "continue_final_message",
} as const;

/** A beginning of the answer is the last of the messages. */
const message = {
  prompt: "messages",
  "prompt.messages": "messages",
  "prompt.rendering.continueFinalMessage": "messages",
} as const;

const ollamaOptions = {
  "sampling.logitBias": null,
  "sampling.allowedTokens": null,
  stopStrings: "options.stop",
  stopTokenIds: null,
  minTokens: null,
} as const;

/** What each endpoint calls the engine's fields; null: its requests cannot bring that one. */
export const wireFields = {
  chatCompletions: {
    ...generating,
    ...conversation,
    prompt: "messages",
    "report.logprobs": "top_logprobs",
    "report.promptLogprobs": "prompt_logprobs",
  },
  completions: {
    ...generating,
    prompt: "prompt",
    "prompt.text": "prompt",
    "prompt.ids": "prompt",
    "report.logprobs": "logprobs",
    "report.promptLogprobs": "logprobs",
  },
  responses: { ...generating, prompt: "input", "prompt.messages": "input", "report.logprobs": "top_logprobs" },
  messages: { ...generating, ...message, stopStrings: "stop_sequences", stopTokenIds: null },
  embeddings: {
    ...textOnly,
    prompt: "input",
    "prompt.text": "input",
    "prompt.ids": "input",
    "steering.adapter": "steering.adapter",
  },
  ollamaChat: { ...generating, ...message, ...ollamaOptions },
  ollamaGenerate: {
    ...generating,
    prompt: "prompt",
    "prompt.messages": "prompt",
    "prompt.text": "prompt",
    ...ollamaOptions,
  },
  ollamaEmbed: { ...textOnly, prompt: "input", "prompt.text": "input", "steering.adapter": "steering.adapter" },
  ollamaEmbeddings: { ...textOnly, prompt: "prompt", "prompt.text": "prompt", "steering.adapter": "steering.adapter" },
  tokenize: { ...textOnly, ...conversation, "prompt.text": "prompt" },
  detokenize: { ...textOnly, "prompt.ids": "tokens" },
  applyTemplate: { ...textOnly, ...conversation },
  inputTokens: { ...textOnly, "prompt.messages": "input" },
  countTokens: { ...textOnly, ...message, "steering.adapter": "steering.adapter" },
  tokenizerInfo: textOnly,
  props: textOnly,
} as const satisfies Record<string, WireFields>;

/** The engine as an endpoint speaks to it: refusals name the field that its client sent. */
export function inWireFields(endpoint: keyof typeof wireFields, engine: ServingEngine): ServingEngine {
  const translate = (error: unknown): never => {
    if (!(error instanceof ToastError) || error.field === null) throw error;
    throw new ToastError(error.code, error.message, { param: wireFields[endpoint][error.field], cause: error });
  };
  return {
    generate: (request, signal) => engine.generate(request, signal).catch(translate),
    ask: (question, asking) => engine.ask(question, asking).catch(translate),
  };
}
