import type { Context } from "hono";
import type { z } from "zod";
import { ToastError } from "../../errors.js";
import {
  type AnswerOptions,
  chatPiece,
  type Durations,
  generatePiece,
  ollamaAnswer,
  ollamaFrames,
  type Piece,
} from "../../ollama/answer.js";
import { ollamaChatGeneration, parseOllamaChatRequest } from "../../ollama/chat-request.js";
import { embedded, type embeddingsRequestSchema, type embedRequestSchema } from "../../ollama/embed.js";
import { ollamaGeneration, parseOllamaGenerateRequest } from "../../ollama/generate-request.js";
import {
  processList,
  type pullRequestSchema,
  shownModel,
  type showRequestSchema,
  tagList,
} from "../../ollama/model-list.js";
import type { EmbeddingRequest } from "../../openai/embedding-request.js";
import { responseHead } from "../../openai/response-head.js";
import { readingOf } from "../../openai/tool-calls.js";
import { currentRecord } from "../edge/request-record.js";
import { requireReady } from "../require-ready.js";
import type { Call } from "../route.js";
import type { ServerDeps } from "../server-deps.js";
import { embedInputs } from "./embeddings.js";
import { type GenerationCall, type GenerationEndpoint, handleGeneration } from "./generation-endpoint.js";

/** POST /api/chat. */
export function handleOllamaChat(context: Context, deps: ServerDeps): Promise<Response> {
  return handleGeneration(chat, context, deps);
}

/** POST /api/generate. */
export function handleOllamaGenerate(context: Context, deps: ServerDeps): Promise<Response> {
  return handleGeneration(generate, context, deps);
}

type Ours<Request extends { readonly model: string | null; readonly stream: boolean | null }> = Pick<
  GenerationEndpoint<Request>,
  "name" | "parse" | "generations"
>;

/** What the two have in common: all but the form of a piece. */
function endpointOf<Request extends { readonly model: string | null; readonly stream: boolean | null }>(
  piece: Piece,
  own: Ours<Request>,
): GenerationEndpoint<Request> {
  const optionsOf = ({ generations: [generation] }: GenerationCall<Request>): AnswerOptions => ({
    piece,
    reading: readingOf(generation),
    format: generation.calls?.format,
    durations: stopwatch(),
  });
  return {
    ...own,
    streamAs: "ndjson",
    head: (model, { steering }) => responseHead("chatcmpl", model, steering, new Date()),
    response: (head, output, call) => ollamaAnswer(head, output, optionsOf(call)),
    frames: (head, call) => ollamaFrames(head, optionsOf(call)),
  };
}

const chat = endpointOf(chatPiece, {
  name: "ollamaChat",
  parse: parseOllamaChatRequest,
  generations: (request, model) => [ollamaChatGeneration(request, model)],
});

const generate = endpointOf(generatePiece, {
  name: "ollamaGenerate",
  parse: parseOllamaGenerateRequest,
  generations: (request, model) => [ollamaGeneration(request, model)],
});

/** Reads the times of the request that runs now, whenever it is asked. */
function stopwatch(): () => Durations {
  const record = currentRecord();
  return () => {
    const now = performance.now();
    const facts = record?.generations[0];
    const arrivedAt = record?.arrivedAt ?? now;
    const firstTokenAt = facts?.firstTokenAt ?? facts?.endedAt ?? now;
    const nanoseconds = (from: number, to: number) => Math.max(0, Math.round((to - from) * 1e6));
    return {
      total: nanoseconds(arrivedAt, now),
      prompt: nanoseconds(facts?.startedAt ?? arrivedAt, firstTokenAt),
      answer: nanoseconds(firstTokenAt, facts?.endedAt ?? now),
    };
  };
}

export function listTags({ deps: { registry, startedAt } }: Call) {
  requireReady(registry);
  return tagList(registry.models, startedAt);
}

export function listProcesses({ deps: { registry } }: Call) {
  requireReady(registry);
  return processList(registry.models);
}

export async function showModel({ body, deps: { registry, startedAt } }: Call<z.output<typeof showRequestSchema>>) {
  const { model: asked, name } = await body();
  const { model, engine } = registry.resolve(asked ?? name);
  const adapter = model.adapter?.name ?? null;
  return shownModel(model, await engine.ask({ kind: "describe", adapter }), startedAt);
}

/** What is served is there already; nothing else is fetched because somebody asks. */
export async function pullModel({ body, deps: { registry } }: Call<z.output<typeof pullRequestSchema>>) {
  const { model, name } = await body();
  registry.resolve(model ?? name);
  return { status: "success" as const };
}

/** @throws ToastError always: what is served is an operator's to say. */
export function refuseToChange(): never {
  const message =
    "Models are not made, copied, sent or deleted through this interface. 'toast-serve pull' and 'convert' add them; the server is started with them.";
  throw new ToastError("unsupported_parameter", message);
}

/** POST /api/embed. */
export async function embedOllama({ body, context, deps }: Call<z.output<typeof embedRequestSchema>>) {
  const begunAt = performance.now();
  const { input, model, dimensions, steering } = await body();
  const request = { ...ordinary, input, model, dimensions, steering };
  const embeddings = await embedInputs("ollamaEmbed", request, deps, context.req.raw.signal);
  return embedded(embeddings.model.id, embeddings.inputs, performance.now() - begunAt);
}

/** POST /api/embeddings, the older form. */
export async function embedOllamaPrompt({ body, context, deps }: Call<z.output<typeof embeddingsRequestSchema>>) {
  const { prompt, model, steering } = await body();
  const request = { ...ordinary, input: [prompt], model, steering };
  const { inputs } = await embedInputs("ollamaEmbeddings", request, deps, context.req.raw.signal);
  return { embedding: [...(inputs[0]?.vector ?? [])] };
}

const ordinary = {
  encoding_format: null,
  dimensions: null,
  pooling: null,
  add_special_tokens: null,
  truncate_prompt_tokens: null,
  user: undefined,
} as const satisfies Partial<EmbeddingRequest>;
