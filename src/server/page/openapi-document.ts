import { z } from "zod";
import { messageErrorSchema } from "../../anthropic/error-object.js";
import { snakeCase } from "../../arena/battle-record.js";
import { ollamaErrorSchema } from "../../ollama/error-object.js";
import { errorEnvelopeSchema } from "../../openai/error-envelope.js";
import { requestSchemas, responseSchemas } from "../../openai/named-schemas.js";
import { shownShapes } from "../../openai/request-fields.js";
import type { Operation, Route } from "../route.js";

type NamedSchemas = typeof requestSchemas;

/** What stands before every route but the open ones may say: keys, origins, limits. */
const edgeFailures = [401, 403, 429];
/** Of whatever has a body. */
const bodyFailures = [400, 413, 415];

const failureTexts: Readonly<Record<number, string>> = {
  400: "The request is not valid; `param` names the field.",
  401: "The server wants an API key, and this is none.",
  403: "The key, or the page that calls, may not do this.",
  404: "There is no such model.",
  408: "The answer took longer than this server allows.",
  413: "The body is larger than this server takes.",
  415: "The body is compressed.",
  429: "The queue is full, or the caller has had its share: try again after `retry-after` seconds.",
  500: "The server failed.",
  503: "The server is loading or shutting down: try again after `retry-after` seconds.",
  507: "The server's disk is full; nothing was left behind.",
};

const errorSchemas = { openai: errorEnvelopeSchema, anthropic: messageErrorSchema, ollama: ollamaErrorSchema };

/** What operations are for, and how their paths begin. */
const groups: readonly (readonly [tag: string, starts: readonly string[]])[] = [
  ["Text", ["/v1/chat/", "/v1/completions", "/v1/responses", "/v1/messages"]],
  ["Embeddings", ["/v1/embeddings"]],
  ["Ollama", ["/api/"]],
  ["Models", ["/v1/models", "/models"]],
  ["Tokens", ["/tokenize", "/detokenize", "/apply-template", "/tokenizer_info"]],
  ["Control vectors", ["/v1/vectors"]],
  ["Adapters", ["/v1/adapters"]],
  ["Comparing", ["/v1/contestants", "/v1/compare", "/v1/arena"]],
  ["Server", ["/props", "/version", "/livez", "/readyz", "/health", "/metrics"]],
];

/** Where a server wants keys. */
const security = { key: { type: "http", scheme: "bearer", description: "Where the server wants keys." } };

/**
 * The interface in OpenAPI 3.1, made from the table of routes and the schemas that check requests and type answers; so
 * it cannot tell of a field that is not read, nor miss a route.
 */
export function openApiDocument(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const { method, path, access, operation } of routes) {
    if (operation === null) continue;
    const template = pathTemplate(path);
    const isOpen = access === "open" || access === "metrics";
    const object = operationObject(operation, template, isOpen ? [] : edgeFailures);
    paths[template] = { ...paths[template], [method.toLowerCase()]: object };
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
    tags: groups.map(([name]) => ({ name })),
    // Without keys, or with one.
    security: [{}, { key: [] }],
    paths,
    components: {
      securitySchemes: security,
      schemas: { ...schemasOf(requestSchemas, "input"), ...schemasOf(responseSchemas, "output") },
    },
  };
}

/** `/v1/models/:id{.+}` in OpenAPI's words: `/v1/models/{id}`. */
export function pathTemplate(path: string): string {
  return path.replace(/:(\w+)(\{.+\})?/g, "{$1}");
}

/** @throws Error for a path that belongs to no group. */
function groupOf(path: string): string {
  const group = groups.find(([, starts]) => starts.some((start) => path.startsWith(start)));
  if (group === undefined) throw new Error(`${path} is in no group of operations`);
  return group[0];
}

function operationObject(operation: Operation, path: string, edge: readonly number[]): object {
  const {
    name,
    summary,
    query = [],
    request,
    example,
    otherRequests,
    response,
    textResponse,
    event,
    eventType = "text/event-stream",
    unavailable,
  } = operation;
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => parameter("path", name));
  const parameters = [...inPath, ...query.map((name) => parameter("query", name))];
  const bodies = {
    ...jsonContent(request, example),
    ...Object.fromEntries(
      Object.entries(otherRequests ?? {}).map(([type, description]) => [
        type,
        { schema: { type: "string", description } },
      ]),
    ),
  };
  const hasBody = Object.keys(bodies).length > 0;
  const errorSchema = errorSchemas[operation.errors ?? "openai"];
  const failures = [...(hasBody ? bodyFailures : []), ...(operation.failures ?? []), ...edge, 500];
  const meaning =
    event === undefined || response === undefined ? "The answer." : "The answer; with `stream: true` its events.";
  return {
    operationId: name,
    tags: [groupOf(path)],
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(hasBody ? { requestBody: { required: true, content: bodies } } : {}),
    responses: {
      [operation.status ?? 200]: {
        description: operation.meaning ?? meaning,
        content: {
          ...jsonContent(response),
          ...(textResponse === undefined ? {} : { [textResponse]: { schema: { type: "string" } } }),
          ...(event === undefined ? {} : { [eventType]: { schema: reference(event) } }),
        },
      },
      ...Object.fromEntries(
        failures.map((status) => [
          status,
          { description: failureTexts[status] ?? "", content: jsonContent(errorSchema) },
        ]),
      ),
      ...(unavailable === undefined ? {} : { 503: { description: "Not now.", content: jsonContent(unavailable) } }),
    },
  };
}

function parameter(place: "path" | "query", name: string): object {
  return { name, in: place, required: place === "path", schema: { type: "string" } };
}

function jsonContent(schema: z.ZodType | undefined, example?: object): object {
  if (schema === undefined) return {};
  return { "application/json": { schema: reference(schema), ...(example === undefined ? {} : { example }) } };
}

/** @throws Error for a schema that was not registered by a name. */
function reference(schema: z.ZodType): object {
  const name = requestSchemas.get(schema)?.id ?? responseSchemas.get(schema)?.id;
  if (name === undefined) throw new Error("a schema in the table of routes has no name");
  return { $ref: `#/components/schemas/${name}` };
}

/** Named schemas refer to each other by name. */
function schemasOf(registry: NamedSchemas, io: "input" | "output"): Record<string, object> {
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
  const { properties, required } = jsonSchema;
  if (properties !== undefined) {
    // The arena's records have our own names inside.
    jsonSchema.properties = Object.fromEntries(
      Object.entries(properties).map(([key, value]) => [snakeCase(key), value]),
    );
  }
  if (required !== undefined) jsonSchema.required = required.map(snakeCase);
  const shape = shownShapes.get(zodSchema);
  if (shape === undefined) return;
  const options = { io: "input", unrepresentable: "any", override: showPart } as const;
  const { $schema: _, ...shown } = z.toJSONSchema(shape, options);
  become(jsonSchema, shown);
}

/** Within a shape: what has a name is referred to by it. */
function showPart(part: Parameters<typeof showShape>[0]) {
  const id = requestSchemas.get(part.zodSchema as z.ZodType)?.id;
  if (id === undefined) showShape(part);
  else become(part.jsonSchema, { $ref: `#/components/schemas/${id}` });
}

function become(jsonSchema: z.core.JSONSchema.BaseSchema, other: object): void {
  for (const key of Object.keys(jsonSchema)) delete jsonSchema[key];
  Object.assign(jsonSchema, other);
}
