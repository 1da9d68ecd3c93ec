import { z } from "zod";
import { chatCompletionChunkSchema, chatCompletionSchema } from "./chat-completion.js";
import { chatCompletionRequestSchema } from "./chat-completion-request.js";
import { completionChunkSchema, completionSchema } from "./completion.js";
import { completionRequestSchema } from "./completion-request.js";
import { errorEnvelopeSchema } from "./error-envelope.js";
import { legacyLogprobsSchema } from "./legacy-logprobs.js";
import { shownShapes } from "./request-fields.js";
import { functionCallSchema, outputMessageSchema, responseSchema } from "./response.js";
import { responseEventSchema } from "./response-events.js";
import { responseRequestSchema } from "./response-request.js";
import { healthSchema, modelListSchema, modelSchema } from "./served-model.js";
import { steeringField } from "./steering-field.js";
import {
  applyTemplateRequestSchema,
  applyTemplateResponseSchema,
  detokenizeRequestSchema,
  detokenizeResponseSchema,
  tokenizeRequestSchema,
  tokenizeResponseSchema,
  tokenizerInfoSchema,
} from "./text-endpoints.js";
import { chatLogprobsSchema, explanationSchema, promptExplanationSchema } from "./token-reports.js";
import { usageSchema } from "./usage.js";

/** What clients send; the document shows what is accepted. */
const requests = {
  Steering: steeringField,
  ChatCompletionRequest: chatCompletionRequestSchema,
  CompletionRequest: completionRequestSchema,
  ResponseRequest: responseRequestSchema,
  TokenizeRequest: tokenizeRequestSchema,
  DetokenizeRequest: detokenizeRequestSchema,
  ApplyTemplateRequest: applyTemplateRequestSchema,
} as const;

/** What the server sends; the types of its builders come from the same schemas. */
const answers = {
  ChatCompletion: chatCompletionSchema,
  ChatCompletionChunk: chatCompletionChunkSchema,
  ChatLogprobs: chatLogprobsSchema,
  Completion: completionSchema,
  CompletionChunk: completionChunkSchema,
  CompletionLogprobs: legacyLogprobsSchema,
  Usage: usageSchema,
  Explanation: explanationSchema,
  PromptExplanation: promptExplanationSchema,
  OutputMessage: outputMessageSchema,
  FunctionCall: functionCallSchema,
  Response: responseSchema,
  ResponseEvent: responseEventSchema,
  Model: modelSchema,
  ModelList: modelListSchema,
  Health: healthSchema,
  Alive: z.object({ status: z.literal("alive") }).describe("Answer of GET /livez."),
  TokenizeResponse: tokenizeResponseSchema,
  DetokenizeResponse: detokenizeResponseSchema,
  ApplyTemplateResponse: applyTemplateResponseSchema,
  TokenizerInfo: tokenizerInfoSchema,
  Error: errorEnvelopeSchema,
} as const;

interface Operation {
  readonly method: "get" | "post" | "delete";
  readonly path: string;
  readonly name: string;
  readonly summary: string;
  readonly request?: keyof typeof requests;
  readonly parameters?: readonly object[];
  readonly answer: keyof typeof answers | "text";
  /** Of each event, for a request with `stream: true`. */
  readonly event?: keyof typeof answers;
  /** Other statuses, beside 500. */
  readonly failures: readonly (400 | 404 | 413 | 429 | 503)[];
  /** What a status that is no error says. */
  readonly busy?: { readonly status: 503; readonly answer: keyof typeof answers };
}

/** An operation whose words are another room's: told whole, since no client of OpenAI's knows it. */
export interface OtherOperation {
  readonly method: "get" | "post" | "delete";
  readonly path: string;
  readonly name: string;
  readonly summary: string;
  readonly parameters?: readonly object[];
  /** By content type: the schema that checks a JSON body, or what another body is. */
  readonly body?: Readonly<Record<string, z.ZodType | string>>;
  /** What comes back, in a word, and its content type. */
  readonly answer: { readonly description: string; readonly contentType: string; readonly status?: 201 };
  readonly failures: readonly (400 | 404 | 413 | 503)[];
}

const generating = [400, 404, 413, 429, 503] as const;
const asking = [400, 404, 413, 503] as const;

const operations: readonly Operation[] = [
  {
    method: "post",
    path: "/v1/chat/completions",
    name: "createChatCompletion",
    summary: "Answers a conversation.",
    request: "ChatCompletionRequest",
    answer: "ChatCompletion",
    event: "ChatCompletionChunk",
    failures: generating,
  },
  {
    method: "post",
    path: "/v1/completions",
    name: "createCompletion",
    summary: "Goes on from a text, or from several.",
    request: "CompletionRequest",
    answer: "Completion",
    event: "CompletionChunk",
    failures: generating,
  },
  {
    method: "post",
    path: "/v1/responses",
    name: "createResponse",
    summary: "Answers a conversation, in OpenAI's newer form; nothing is stored.",
    request: "ResponseRequest",
    answer: "Response",
    event: "ResponseEvent",
    failures: generating,
  },
  {
    method: "get",
    path: "/v1/models",
    name: "listModels",
    summary: "The models served here: each base, and each base with one of its adapters.",
    answer: "ModelList",
    failures: [503],
  },
  {
    method: "get",
    path: "/v1/models/{id}",
    name: "retrieveModel",
    summary: "One of them.",
    parameters: [{ name: "id", in: "path", required: true, schema: { type: "string" } }],
    answer: "Model",
    failures: [404, 503],
  },
  {
    method: "post",
    path: "/tokenize",
    name: "tokenize",
    summary: "The tokens of a text, or of a conversation as the chat template writes it.",
    request: "TokenizeRequest",
    answer: "TokenizeResponse",
    failures: asking,
  },
  {
    method: "post",
    path: "/detokenize",
    name: "detokenize",
    summary: "The text of tokens.",
    request: "DetokenizeRequest",
    answer: "DetokenizeResponse",
    failures: asking,
  },
  {
    method: "post",
    path: "/apply-template",
    name: "applyTemplate",
    summary: "A conversation as the chat template writes it.",
    request: "ApplyTemplateRequest",
    answer: "ApplyTemplateResponse",
    failures: asking,
  },
  {
    method: "get",
    path: "/tokenizer_info",
    name: "tokenizerInfo",
    summary: "Vocabulary size, special tokens and chat template.",
    parameters: [{ name: "model", in: "query", required: false, schema: { type: "string" } }],
    answer: "TokenizerInfo",
    failures: [404, 503],
  },
  {
    method: "get",
    path: "/livez",
    name: "livez",
    summary: "Whether the process answers at all.",
    answer: "Alive",
    failures: [],
  },
  {
    method: "get",
    path: "/readyz",
    name: "readyz",
    summary: "The same as /health, by the name that orchestrators use.",
    answer: "Health",
    failures: [],
    busy: { status: 503, answer: "Health" },
  },
  {
    method: "get",
    path: "/metrics",
    name: "metrics",
    summary: "Metrics in the text format of Prometheus.",
    answer: "text",
    failures: [],
  },
  {
    method: "get",
    path: "/health",
    name: "health",
    summary: "Whether a generation sent now would be taken.",
    answer: "Health",
    failures: [],
    busy: { status: 503, answer: "Health" },
  },
];

/** Need no key and have no limits. */
const openPaths: ReadonlySet<string> = new Set(["/livez", "/readyz", "/health", "/metrics"]);

/** What stands before every other route may say: keys, origins, limits. */
const edgeFailures = [401, 403, 429] as const;

const failureTexts: Readonly<Record<number, string>> = {
  400: "The request is not valid; `param` names the field.",
  401: "The server wants an API key, and this is none.",
  403: "The key, or the page that calls, may not do this.",
  408: "The answer took longer than this server allows.",
  404: "There is no such model.",
  413: "The body is larger than this server takes.",
  429: "The queue is full, or the caller has had its share: try again after `retry-after` seconds.",
  500: "The server failed.",
  503: "The server is loading or shutting down: try again after `retry-after` seconds.",
};

/**
 * The interface in OpenAPI 3.1, made from the schemas that check requests and type answers; so it cannot tell of a field
 * that is not read, nor miss one that is.
 * @param others operations beside OpenAI's and those of text.
 */
export function openApiDocument(version: string, others: readonly OtherOperation[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of operations) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: operationObject(operation) };
  }
  for (const other of others) {
    paths[other.path] = { ...paths[other.path], [other.method]: otherObject(other) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "toast-serve",
      version,
      description:
        "Steered language generation behind OpenAI's interface. Fields that are not listed are ignored; listed ones that cannot be honoured are refused by name.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    paths,
    components: { schemas: { ...schemasOf(requests, "input"), ...schemasOf(answers, "output") } },
  };
}

function operationObject(operation: Operation): object {
  const { request, answer, event, busy } = operation;
  const late = event === undefined ? [] : [408];
  const failures = failuresOf(operation.path, [...operation.failures, ...late]);
  return {
    operationId: operation.name,
    summary: operation.summary,
    ...(operation.parameters === undefined ? {} : { parameters: operation.parameters }),
    ...(request === undefined
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: reference(request) } } } }),
    responses: {
      "200": {
        description: event === undefined ? "The answer." : "The answer; with `stream: true` its events.",
        content: {
          ...(answer === "text"
            ? { "text/plain": { schema: { type: "string" } } }
            : { "application/json": { schema: reference(answer) } }),
          ...(event === undefined ? {} : { "text/event-stream": { schema: reference(event) } }),
        },
      },
      ...failures,
      ...(busy === undefined ? {} : { [busy.status]: described("Not now.", busy.answer) }),
    },
  };
}

function otherObject({ path, name, summary, parameters, body, answer, failures }: OtherOperation): object {
  const bodies = Object.entries(body ?? {}).map(([contentType, what]) => [
    contentType,
    { schema: typeof what === "string" ? { type: "string", description: what } : inlined(what) },
  ]);
  const shape = { type: answer.contentType === "application/json" ? "object" : "string" };
  return {
    operationId: name,
    summary,
    ...(parameters === undefined ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: Object.fromEntries(bodies) } }),
    responses: {
      [answer.status ?? 200]: {
        description: answer.description,
        content: { [answer.contentType]: { schema: shape } },
      },
      ...failuresOf(path, failures),
    },
  };
}

function inlined(schema: z.ZodType): object {
  const { $schema: _, ...shown } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any", override: showShape });
  return shown;
}

function failuresOf(path: string, own: readonly number[]): Record<string, object> {
  const all = [...own, ...(openPaths.has(path) ? [] : edgeFailures), 500];
  return Object.fromEntries(all.map((status) => [String(status), described(failureTexts[status] ?? "", "Error")]));
}

function described(description: string, answer: keyof typeof answers): object {
  return { description, content: { "application/json": { schema: reference(answer) } } };
}

function reference(name: string): object {
  return { $ref: `#/components/schemas/${name}` };
}

/** Named schemas refer to each other by name. */
function schemasOf(named: Readonly<Record<string, z.ZodType>>, io: "input" | "output"): Record<string, object> {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(named)) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, {
    io,
    // What zod cannot see, `override` says below.
    unrepresentable: "any",
    uri: (id) => `#/components/schemas/${id}`,
    override: showShape,
  });
  return Object.fromEntries(Object.entries(schemas).map(([id, { $schema: _, $id: __, ...schema }]) => [id, schema]));
}

/** Puts what a schema is shown as in its place, and takes off the bounds of safe integers, which say nothing. */
function showShape({
  zodSchema,
  jsonSchema,
}: {
  zodSchema: z.core.$ZodType;
  jsonSchema: z.core.JSONSchema.BaseSchema;
}) {
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  const shape = shownShapes.get(zodSchema);
  if (shape === undefined) return;
  const options = { io: "input", unrepresentable: "any", override: showShape } as const;
  const { $schema: _, ...shown } = z.toJSONSchema(shape, options);
  for (const key of Object.keys(jsonSchema)) delete jsonSchema[key];
  Object.assign(jsonSchema, shown);
}
