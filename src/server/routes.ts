import { messageSchema } from "../anthropic/message.js";
import { messageEventSchema } from "../anthropic/message-events.js";
import { messageRequestSchema } from "../anthropic/message-request.js";
import { tokenCount, tokenCountSchema } from "../anthropic/token-count.js";
import { ollamaChatSchema, ollamaGenerateSchema } from "../ollama/answer.js";
import { ollamaChatRequestSchema } from "../ollama/chat-request.js";
import { embeddingsRequestSchema, embeddingsSchema, embedRequestSchema, embedSchema } from "../ollama/embed.js";
import { ollamaGenerateRequestSchema } from "../ollama/generate-request.js";
import * as ollamaModels from "../ollama/model-list.js";
import { chatCompletionChunkSchema, chatCompletionSchema } from "../openai/chat-completion.js";
import { chatCompletionRequestSchema } from "../openai/chat-completion-request.js";
import { completionChunkSchema, completionSchema } from "../openai/completion.js";
import { completionRequestSchema } from "../openai/completion-request.js";
import { embeddingListSchema } from "../openai/embedding.js";
import { embeddingRequestSchema } from "../openai/embedding-request.js";
import { healthSchema, modelList, modelListSchema, modelObject, modelSchema } from "../openai/model-object.js";
import { responseSchema } from "../openai/response.js";
import { responseEventSchema } from "../openai/response-events.js";
import { responseRequestSchema } from "../openai/response-request.js";
import * as text from "../openai/text-endpoints.js";
import { packageVersion } from "../package.js";
import * as adapters from "./adapters/adapter-handlers.js";
import * as arenaAnswers from "./arena/arena-answers.js";
import * as arena from "./arena/arena-handlers.js";
import { battleSchema, compareSchema, filters, turnSchema, voteSchema } from "./arena/arena-requests.js";
import { handleChatCompletions } from "./generate/chat-completions.js";
import { handleCompletions } from "./generate/completions.js";
import { embed } from "./generate/embeddings.js";
import { handleMessages } from "./generate/messages.js";
import * as ollama from "./generate/ollama.js";
import { handleResponses } from "./generate/responses.js";
import { respondWithProps, respondWithText, respondWithTokenizerInfo } from "./generate/text-endpoints.js";
import { alive, aliveSchema, health } from "./health.js";
import { docsRoutes, documentRoute } from "./page/api-docs.js";
import { openApiDocument } from "./page/openapi-document.js";
import { webPage } from "./page/web-page.js";
import { requireReady } from "./require-ready.js";
import { type Call, get, pagePart, patch, post, type Route, remove } from "./route.js";
import * as vectors from "./vectors/vector-handlers.js";
import * as vectorWire from "./vectors/vector-wire.js";

const generating = [404, 408, 429, 503] as const;
const aboutModels = [404, 503] as const;

function listModels({ deps: { registry, startedAt } }: Call) {
  requireReady(registry);
  return modelList(registry.models, startedAt);
}

/** What examples name that cannot do without: the model that comes with the server. */
const shipped = "SmolLM2-135M-Instruct";

/**
 * Everything that this server answers to. Router, access check, the document of the interface and docs/api.md's list go
 * by it.
 */
export const routes: readonly Route[] = [
  post("/v1/chat/completions", {
    name: "createChatCompletion",
    summary: "Answers a conversation.",
    request: chatCompletionRequestSchema,
    example: { messages: [{ role: "user", content: "Give three tips for staying healthy." }], max_tokens: 60, seed: 1 },
    response: chatCompletionSchema,
    event: chatCompletionChunkSchema,
    failures: generating,
    handle: ({ context, deps }) => handleChatCompletions(context, deps),
  }),
  post("/v1/completions", {
    name: "createCompletion",
    summary: "Goes on from a text, or from several.",
    request: completionRequestSchema,
    example: { prompt: "Once upon a time", max_tokens: 40, seed: 1 },
    response: completionSchema,
    event: completionChunkSchema,
    failures: generating,
    handle: ({ context, deps }) => handleCompletions(context, deps),
  }),
  post("/v1/responses", {
    name: "createResponse",
    summary: "Answers a conversation, in OpenAI's newer form; nothing is stored.",
    request: responseRequestSchema,
    example: { input: "Give three tips for staying healthy.", max_output_tokens: 60, seed: 1 },
    response: responseSchema,
    event: responseEventSchema,
    failures: generating,
    handle: ({ context, deps }) => handleResponses(context, deps),
  }),
  post("/v1/responses/input_tokens", {
    name: "countInputTokens",
    summary: "How many tokens the input of a response has.",
    request: responseRequestSchema,
    example: { input: "Give three tips for staying healthy." },
    response: text.inputTokensSchema,
    failures: aboutModels,
    handle: async ({ body, ...call }) => respondWithText(text.inputTokens(await body()), call),
  }),
  post("/v1/messages", {
    name: "createMessage",
    summary: "Answers a conversation, in Anthropic's form.",
    request: messageRequestSchema,
    example: { messages: [{ role: "user", content: "Give three tips for staying healthy." }], max_tokens: 60 },
    response: messageSchema,
    event: messageEventSchema,
    errors: "anthropic",
    failures: generating,
    handle: ({ context, deps }) => handleMessages(context, deps),
  }),
  post("/v1/messages/count_tokens", {
    name: "countMessageTokens",
    summary: "How many tokens the prompt of a message has.",
    request: messageRequestSchema,
    example: { messages: [{ role: "user", content: "Hi" }] },
    response: tokenCountSchema,
    errors: "anthropic",
    failures: aboutModels,
    handle: async ({ body, ...call }) => respondWithText(tokenCount(await body()), call),
  }),
  post("/v1/embeddings", {
    name: "createEmbedding",
    summary: "Vectors of texts: pooled hidden states of the last layer, of the base or steered.",
    request: embeddingRequestSchema,
    example: { input: ["A cat sat on the mat.", "Kittens sleep."] },
    response: embeddingListSchema,
    failures: generating,
    handle: embed,
  }),
  get("/v1/models", {
    name: "listModels",
    summary: "The models served here: each base, and each base with one of its adapters.",
    response: modelListSchema,
    failures: [503],
    handle: listModels,
  }),
  get("/models", {
    name: "listModelsByShortPath",
    summary: "The same, where clients look that were given an address without /v1.",
    response: modelListSchema,
    failures: [503],
    handle: listModels,
  }),
  // A model id may hold ':' and, percent-encoded or not, whatever else a client makes up.
  get("/v1/models/:id{.+}", {
    name: "retrieveModel",
    summary: "One of them.",
    response: modelSchema,
    failures: aboutModels,
    handle: ({ context, deps: { registry, startedAt } }) =>
      modelObject(registry.resolve(context.req.param("id") ?? "").model, startedAt),
  }),

  post("/api/chat", {
    name: "ollamaChat",
    summary: "Answers a conversation, in Ollama's form.",
    request: ollamaChatRequestSchema,
    example: { messages: [{ role: "user", content: "Give three tips for staying healthy." }], options: { seed: 1 } },
    response: ollamaChatSchema,
    event: ollamaChatSchema,
    eventType: "application/x-ndjson",
    errors: "ollama",
    failures: generating,
    handle: ({ context, deps }) => ollama.handleOllamaChat(context, deps),
  }),
  post("/api/generate", {
    name: "ollamaGenerate",
    summary: "Answers a prompt, or goes on from it, in Ollama's form.",
    request: ollamaGenerateRequestSchema,
    example: { prompt: "Give three tips for staying healthy.", options: { num_predict: 60, seed: 1 } },
    response: ollamaGenerateSchema,
    event: ollamaGenerateSchema,
    eventType: "application/x-ndjson",
    errors: "ollama",
    failures: generating,
    handle: ({ context, deps }) => ollama.handleOllamaGenerate(context, deps),
  }),
  post("/api/embed", {
    name: "ollamaEmbed",
    summary: "Vectors of texts, in Ollama's form.",
    request: embedRequestSchema,
    example: { input: ["A cat sat on the mat.", "Kittens sleep."] },
    response: embedSchema,
    errors: "ollama",
    failures: generating,
    handle: ollama.embedOllama,
  }),
  post("/api/embeddings", {
    name: "ollamaEmbeddings",
    summary: "The vector of a text, in Ollama's older form.",
    request: embeddingsRequestSchema,
    example: { prompt: "A cat sat on the mat." },
    response: embeddingsSchema,
    errors: "ollama",
    failures: generating,
    handle: ollama.embedOllamaPrompt,
  }),
  get("/api/tags", {
    name: "ollamaTags",
    summary: "The models served here, in Ollama's form.",
    response: ollamaModels.tagListSchema,
    errors: "ollama",
    failures: [503],
    handle: ollama.listTags,
  }),
  get("/api/ps", {
    name: "ollamaProcesses",
    summary: "The models in memory: all that are served.",
    response: ollamaModels.processListSchema,
    errors: "ollama",
    failures: [503],
    handle: ollama.listProcesses,
  }),
  post("/api/show", {
    name: "ollamaShow",
    summary: "One of them: template, sizes, what it can do.",
    request: ollamaModels.showRequestSchema,
    example: {},
    response: ollamaModels.showSchema,
    errors: "ollama",
    failures: aboutModels,
    handle: ollama.showModel,
  }),
  get("/api/version", {
    name: "ollamaVersion",
    summary: "The version of this server, where Ollama's clients look for it.",
    response: ollamaModels.ollamaVersionSchema,
    errors: "ollama",
    handle: () => ({ version: packageVersion() }),
  }),
  post("/api/pull", {
    name: "ollamaPull",
    summary: "Says that a served model is there; fetches none.",
    request: ollamaModels.pullRequestSchema,
    example: {},
    response: ollamaModels.statusSchema,
    event: ollamaModels.statusSchema,
    eventType: "application/x-ndjson",
    errors: "ollama",
    failures: aboutModels,
    handle: ollama.pullModel,
  }),
  ...(["/api/push", "/api/create", "/api/copy"] as const).map((path) =>
    post(path, {
      name: `ollama${path[5]?.toUpperCase()}${path.slice(6)}`,
      summary: "Refused: what is served is the operator's to say.",
      errors: "ollama",
      failures: [400],
      handle: ollama.refuseToChange,
    }),
  ),
  remove("/api/delete", {
    name: "ollamaDelete",
    summary: "Refused: what is served is the operator's to say.",
    errors: "ollama",
    failures: [400],
    handle: ollama.refuseToChange,
  }),

  post("/tokenize", {
    name: "tokenize",
    summary: "The tokens of a text, or of a conversation as the chat template writes it.",
    request: text.tokenizeRequestSchema,
    example: { prompt: "Steer, do not retrain." },
    response: text.tokenizeResponseSchema,
    failures: aboutModels,
    handle: async ({ body, ...call }) => respondWithText(text.tokenize(await body()), call),
  }),
  post("/detokenize", {
    name: "detokenize",
    summary: "The text of tokens.",
    request: text.detokenizeRequestSchema,
    example: { tokens: [42, 43, 44] },
    response: text.detokenizeResponseSchema,
    failures: aboutModels,
    handle: async ({ body, ...call }) => respondWithText(text.detokenize(await body()), call),
  }),
  post("/apply-template", {
    name: "applyTemplate",
    summary: "A conversation as the chat template writes it.",
    request: text.applyTemplateRequestSchema,
    example: { messages: [{ role: "user", content: "Hi" }] },
    response: text.applyTemplateResponseSchema,
    failures: aboutModels,
    handle: async ({ body, ...call }) => respondWithText(text.applyTemplate(await body()), call),
  }),
  get("/tokenizer_info", {
    name: "tokenizerInfo",
    summary: "Vocabulary size, special tokens and chat template.",
    query: ["model"],
    response: text.tokenizerInfoSchema,
    failures: aboutModels,
    handle: respondWithTokenizerInfo,
  }),

  get("/props", {
    name: "props",
    summary: "Context length, chat template and special tokens, as llama.cpp's server tells them.",
    query: ["model"],
    response: text.propsSchema,
    failures: aboutModels,
    handle: respondWithProps,
  }),
  get("/version", {
    name: "version",
    summary: "The version of this server.",
    response: text.versionSchema,
    handle: () => ({ version: packageVersion() }),
  }),
  // Browsers ask for it wherever they are; the page names none.
  pagePart("/favicon.ico", async (context) => context.body(null, 204, { "cache-control": "public, max-age=86400" })),

  // Alive as long as it answers and has lost no engine for good: a restart would not load models sooner.
  get("/livez", {
    access: "open",
    name: "livez",
    summary: "Whether the process answers, and no engine that served is gone for good.",
    response: aliveSchema,
    unavailable: aliveSchema,
    handle: alive,
  }),
  get("/readyz", {
    access: "open",
    name: "readyz",
    summary: "The same as /health, by the name that orchestrators use.",
    response: healthSchema,
    unavailable: healthSchema,
    handle: health,
  }),
  get("/health", {
    access: "open",
    name: "health",
    summary: "Whether a generation sent now would be taken.",
    response: healthSchema,
    unavailable: healthSchema,
    handle: health,
  }),
  get("/metrics", {
    access: "metrics",
    name: "metrics",
    summary: "Metrics in the text format of Prometheus.",
    textResponse: "text/plain",
    async handle({ context, deps: { edge } }) {
      const headers = { "content-type": edge.metrics.contentType, "cache-control": "no-store" };
      return context.body(await edge.metrics.scrape(), 200, headers);
    },
  }),

  get("/v1/adapters", {
    access: "admin",
    name: "listAdapters",
    summary: "The adapters that are served, where they came from, and files that could not be. For operators.",
    response: adapters.adapterListSchema,
    handle: adapters.listAdapters,
  }),
  post("/v1/adapters", {
    access: "admin",
    name: "addAdapter",
    summary: "Serves one more adapter: of a path inside the adapters folder, or sent along. For operators.",
    request: adapters.addedAdapterSchema,
    example: { model: shipped, name: "mine", path: "mine" },
    otherRequests: {
      "multipart/form-data": "The fields model, name and sha256, and the adapter's files (docs/adapters.md).",
    },
    response: adapters.adapterSchema,
    meaning: "The adapter, which is served now.",
    status: 201,
    failures: [...aboutModels, 507],
    handle: adapters.addAdapter,
  }),
  get("/v1/adapters/:model/:name", {
    access: "admin",
    name: "retrieveAdapter",
    summary: "One of them. For operators.",
    response: adapters.adapterSchema,
    failures: [404],
    handle: adapters.retrieveAdapter,
  }),
  remove("/v1/adapters/:model/:name", {
    access: "admin",
    name: "removeAdapter",
    summary: "Takes one away; requests that use it may end first. For operators.",
    response: adapters.removedAdapterSchema,
    meaning: "What became of its memory and files.",
    failures: aboutModels,
    handle: adapters.removeAdapter,
  }),

  get("/v1/vectors", {
    name: "listVectors",
    summary: "The control vectors that requests can name, and files that could not be served.",
    response: vectorWire.vectorListSchema,
    handle: vectors.listVectors,
  }),
  post("/v1/vectors", {
    access: "admin",
    name: "addVector",
    summary: "Makes a control vector of two sides, or takes one in that is sent along. For operators.",
    request: vectorWire.makeVectorSchema,
    example: { model: shipped, name: "sailor", positive: "a pirate", negative: "an ordinary person", sweep: false },
    otherRequests: { "multipart/form-data": "The fields model and name, and a .gguf file (docs/vectors.md)." },
    response: vectorWire.madeVectorSchema,
    event: vectorWire.vectorEventSchema,
    meaning: "The vector, which can be used now; with `stream: true` the progress before it.",
    status: 201,
    failures: [...generating, 507],
    handle: vectors.addVector,
  }),
  get("/v1/vectors/:model/:name", {
    name: "retrieveVector",
    summary: "One of them.",
    response: vectorWire.vectorSchema,
    failures: [404],
    handle: vectors.retrieveVector,
  }),
  get("/v1/vectors/:model/:name/download", {
    name: "downloadVector",
    summary: "Its GGUF file, which llama.cpp and repeng read too.",
    textResponse: "application/octet-stream",
    meaning: "The file.",
    failures: [404],
    handle: vectors.downloadVector,
  }),
  patch("/v1/vectors/:model/:name", {
    access: "admin",
    name: "renameVector",
    summary: "Gives one that was made or sent here another name; requests that have it keep it. For operators.",
    request: vectorWire.renameVectorSchema,
    example: { name: "sailor" },
    response: vectorWire.vectorSchema,
    meaning: "The vector under its new name.",
    failures: aboutModels,
    handle: vectors.renameVector,
  }),
  remove("/v1/vectors/:model/:name", {
    access: "admin",
    name: "removeVector",
    summary: "Takes one away; requests that have it keep it. For operators.",
    response: vectorWire.removedVectorSchema,
    meaning: "What became of its file.",
    failures: aboutModels,
    handle: vectors.removeVector,
  }),

  get("/v1/contestants", {
    name: "listContestants",
    summary: "Who can be compared: models served here, and configured servers elsewhere.",
    response: arenaAnswers.contestantListSchema,
    handle: arena.listContestants,
  }),
  post("/v1/compare", {
    name: "compare",
    summary: "Two answers to one prompt, side by side.",
    request: compareSchema,
    example: { prompt: "How do I make tea?", contestants: [shipped, `${shipped}:novelist`], max_tokens: 60, seed: 1 },
    event: arenaAnswers.comparisonFrameSchema,
    meaning: "Frames of both sides as they come (docs/arena.md).",
    failures: aboutModels,
    handle: arena.compare,
  }),
  post("/v1/arena/battles", {
    name: "startBattle",
    summary: "Two answers at equal pace, without names.",
    request: battleSchema,
    example: { prompt: "How do I make tea?", max_tokens: 60 },
    event: arenaAnswers.battleFrameSchema,
    meaning: "Frames, the last with the ballot (docs/arena.md).",
    failures: aboutModels,
    handle: arena.startBattle,
  }),
  post("/v1/arena/battles/:id/turns", {
    name: "continueBattle",
    summary: "A further message to both, before the vote.",
    request: turnSchema,
    example: { ballot: "of the battle's last frame", prompt: "And without sugar?" },
    event: arenaAnswers.battleFrameSchema,
    meaning: "Frames as of the battle's first turn, the last with its ballot.",
    failures: [404],
    handle: arena.continueBattle,
  }),
  post("/v1/arena/battles/:id/vote", {
    name: "vote",
    summary: "One vote of whoever has read both answers; tells the names.",
    request: voteSchema,
    example: { ballot: "of the battle's last frame", winner: "left" },
    response: arenaAnswers.battleRecordSchema,
    meaning: "The battle's record.",
    failures: [404],
    handle: arena.vote,
  }),
  get("/v1/arena/leaderboard", {
    name: "leaderboard",
    summary: "Ratings with intervals, and what they cannot tell apart.",
    query: filters,
    response: arenaAnswers.leaderboardSchema,
    meaning: "The leaderboard.",
    failures: [400],
    handle: arena.showLeaderboard,
  }),
  get("/v1/arena/battles", {
    access: "admin",
    name: "exportBattles",
    summary: "Every record, oldest first. For operators.",
    query: filters,
    textResponse: "application/x-ndjson",
    meaning: "One record a line.",
    failures: [400],
    handle: arena.exportBattles,
  }),
  post("/v1/arena/import", {
    access: "admin",
    name: "importBattles",
    summary: "Takes records in; known ones are passed over. For operators.",
    otherRequests: { "application/x-ndjson": "One record a line, or one verdict that names its contestants." },
    response: arenaAnswers.importCountSchema,
    meaning: "How many were new, and how many known.",
    handle: arena.importBattles,
  }),

  documentRoute((version) => openApiDocument(routes, version)),
  ...docsRoutes,
  ...webPage(),
];
