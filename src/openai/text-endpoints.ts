import { z } from "zod";
import type { ServedModel } from "../engine/served-model.js";
import { maxQuestionSize, type TextAnswers, type TextQuestion } from "../engine/text-questions.js";
import { ToastError } from "../errors.js";
import { messageFields } from "./chat-completion-request.js";
import { tokenIds } from "./list-fields.js";
import { requestSchemas, responseSchemas } from "./named-schemas.js";
import { only } from "./parameter-policy.js";
import { renderingOf } from "./rendering-fields.js";
import { field, flag, optional, text } from "./request-fields.js";
import { type ResponseRequest, responseGenerationRequest } from "./response-request.js";
import { toolDefinitions, toolFields } from "./tool-request.js";
import type { wireFields } from "./wire-fields.js";

/**
 * Tokens and templates without generation: vLLM's /tokenize, /detokenize and /tokenizer_info, llama.cpp's
 * /apply-template.
 */

const model = optional(z.string(field("the id of a served model (see GET /v1/models)"))).describe(
  "Default: what is served first, steered if anything is.",
);

const { messages, ...rendering } = messageFields;

export const tokenizeRequestSchema = z
  .object(
    {
      model,
      prompt: optional(text()).describe("A text; or else 'messages'."),
      messages: optional(messages).describe("A conversation, which the chat template writes; or else 'prompt'."),
      ...rendering,
      add_special_tokens: optional(flag()).describe(
        "Whether the tokenizer's own tokens are put around the text. Default: true for 'prompt', false for 'messages', whose template has written them.",
      ),
      return_token_strs: optional(flag()).describe("Whether the vocabulary's pieces are told, too."),
      tools: toolFields.tools.describe("What the template tells the model that it can call."),
      chat_template: only([], "The chat template is the model's own; it cannot be sent with a request."),
    },
    field("a JSON object"),
  )
  .describe("Body of POST /tokenize.")
  .register(requestSchemas, { id: "TokenizeRequest" });

export const tokenizeResponseSchema = z
  .object({
    count: z.int(),
    max_model_len: z.int(),
    tokens: z.array(z.int()),
    token_strs: z.array(z.string()).nullable(),
  })
  .describe("Answer of POST /tokenize.")
  .register(responseSchemas, { id: "TokenizeResponse" });

export const detokenizeRequestSchema = z
  .object({ model, tokens: tokenIds({ max: maxQuestionSize }) }, field("a JSON object"))
  .describe("Body of POST /detokenize.")
  .register(requestSchemas, { id: "DetokenizeRequest" });

export const detokenizeResponseSchema = z
  .object({ prompt: z.string() })
  .describe("Answer of POST /detokenize.")
  .register(responseSchemas, { id: "DetokenizeResponse" });

export const applyTemplateRequestSchema = z
  .object(
    {
      model,
      ...messageFields,
      tools: toolFields.tools.describe("What the template tells the model that it can call."),
      chat_template: only([], "The chat template is the model's own; it cannot be sent with a request."),
    },
    field("a JSON object"),
  )
  .describe("Body of POST /apply-template.")
  .register(requestSchemas, { id: "ApplyTemplateRequest" });

export const applyTemplateResponseSchema = z
  .object({ prompt: z.string() })
  .describe("Answer of POST /apply-template.")
  .register(responseSchemas, { id: "ApplyTemplateResponse" });

const specialToken = z.object({ id: z.int(), text: z.string() });

export const tokenizerInfoSchema = z
  .object({
    model: z.string(),
    vocab_size: z.int(),
    max_model_len: z.int(),
    bos_token: z.string().nullable(),
    eos_token: z.string().nullable(),
    bos_token_id: z.int().nullable(),
    eos_tokens: z.array(specialToken).describe("All tokens that end a text."),
    chat_template: z.string().nullable(),
  })
  .describe("Answer of GET /tokenizer_info.")
  .register(responseSchemas, { id: "TokenizerInfo" });

/** What one of these endpoints asks the engine, and how it tells the answer. */
export interface TextEndpoint<Question extends TextQuestion, Answer> {
  readonly name: keyof typeof wireFields;
  readonly model: string | null;
  ask(model: ServedModel): Question;
  tell(answer: TextAnswers[Question["kind"]], model: ServedModel): Answer;
}

export function tokenize(
  request: z.output<typeof tokenizeRequestSchema>,
): TextEndpoint<TextQuestion & { readonly kind: "encode" }, z.input<typeof tokenizeResponseSchema>> {
  const prompt = promptOf(request);
  return {
    name: "tokenize",
    model: request.model,
    ask: (served) => ({ kind: "encode", prompt, adapter: adapterOf(served) }),
    tell: ({ ids, pieces }, { base }) => ({
      count: ids.length,
      max_model_len: base.contextLength,
      tokens: [...ids],
      token_strs: request.return_token_strs === true ? [...pieces] : null,
    }),
  };
}

function promptOf(request: z.output<typeof tokenizeRequestSchema>): (TextQuestion & { kind: "encode" })["prompt"] {
  const { prompt, messages: conversation, add_special_tokens: special } = request;
  if ((prompt === null) === (conversation === null)) {
    throw new ToastError("invalid_request", "Send either 'prompt' or 'messages'.", { param: "prompt" });
  }
  if (prompt !== null) {
    return { kind: "text", text: prompt, addSpecialTokens: special ?? true };
  }
  if (special === true) {
    const message = "'add_special_tokens' is for 'prompt': a chat template has written its special tokens.";
    throw new ToastError("unsupported_parameter", message, { param: "add_special_tokens" });
  }
  const rendering = { ...renderingOf(request), tools: toolDefinitions(request.tools) };
  return { kind: "chat", messages: conversation ?? [], rendering };
}

export function detokenize({
  model: id,
  tokens,
}: z.output<typeof detokenizeRequestSchema>): TextEndpoint<
  TextQuestion & { readonly kind: "decode" },
  z.input<typeof detokenizeResponseSchema>
> {
  return {
    name: "detokenize",
    model: id,
    ask: () => ({ kind: "decode", ids: tokens, specialTokens: "written" }),
    tell: ({ text: prompt }) => ({ prompt }),
  };
}

export function applyTemplate(
  request: z.output<typeof applyTemplateRequestSchema>,
): TextEndpoint<TextQuestion & { readonly kind: "render" }, z.input<typeof applyTemplateResponseSchema>> {
  const rendering = { ...renderingOf(request), tools: toolDefinitions(request.tools) };
  const prompt = { kind: "chat", messages: request.messages, rendering } as const;
  return {
    name: "applyTemplate",
    model: request.model,
    ask: (served) => ({ kind: "render", prompt, adapter: adapterOf(served) }),
    tell: ({ text: rendered }) => ({ prompt: rendered }),
  };
}

export const inputTokensSchema = z
  .object({ object: z.literal("response.input_tokens"), input_tokens: z.int() })
  .describe("Answer of POST /v1/responses/input_tokens.")
  .register(responseSchemas, { id: "InputTokens" });

/** How many tokens a response's prompt has, counted as the engine counts them. */
export function inputTokens(
  request: ResponseRequest,
): TextEndpoint<TextQuestion & { readonly kind: "encode" }, z.input<typeof inputTokensSchema>> {
  return {
    name: "inputTokens",
    model: request.model,
    ask: (served) => {
      const { prompt } = responseGenerationRequest(request, served);
      return { kind: "encode", prompt, adapter: adapterOf(served) };
    },
    tell: ({ ids }) => ({ object: "response.input_tokens", input_tokens: ids.length }),
  };
}

export const versionSchema = z
  .object({ version: z.string() })
  .describe("Answer of GET /version.")
  .register(responseSchemas, { id: "Version" });

export const propsSchema = z
  .object({
    default_generation_settings: z.object({ n_ctx: z.int() }),
    model_alias: z.string(),
    chat_template: z.string(),
    bos_token: z.string(),
    eos_token: z.string(),
    build_info: z.string(),
  })
  .describe("Answer of GET /props: what of llama.cpp's there is here.")
  .register(responseSchemas, { id: "Props" });

/** llama.cpp's /props, for clients that ask it for the context and the template. */
export function props(
  info: TextAnswers["describe"],
  { id, base }: ServedModel,
  version: string,
): z.input<typeof propsSchema> {
  return {
    default_generation_settings: { n_ctx: base.contextLength },
    model_alias: id,
    chat_template: info.chatTemplate ?? "",
    bos_token: info.bosToken?.text ?? "",
    eos_token: info.eosTokens[0]?.text ?? "",
    build_info: `toast-serve ${version}`,
  };
}

export function tokenizerInfo(
  info: TextAnswers["describe"],
  { id, base }: ServedModel,
): z.input<typeof tokenizerInfoSchema> {
  return {
    model: id,
    vocab_size: info.vocabSize,
    max_model_len: base.contextLength,
    bos_token: info.bosToken?.text ?? null,
    eos_token: info.eosTokens[0]?.text ?? null,
    bos_token_id: info.bosToken?.id ?? null,
    eos_tokens: [...info.eosTokens],
    chat_template: info.chatTemplate,
  };
}

function adapterOf({ adapter }: ServedModel): string | null {
  return adapter?.name ?? null;
}
