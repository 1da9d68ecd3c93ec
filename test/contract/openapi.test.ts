import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pathTemplate } from "../../src/server/page/openapi-document.js";
import { routes } from "../../src/server/routes.js";
import { buildApp } from "../server/build-app.js";
import { openTestModel } from "./open-test-model.js";
import { checked, checkTraffic, ownDocument } from "./own-document.js";
import { type Exchange, framesOf, startTestServer, type TestServer } from "./start-test-server.js";

/** Extracted from OpenAI's own document by scripts/extract_openai_shapes.py. */
const published = JSON.parse(readFileSync(new URL("./openai-shapes.json", import.meta.url), "utf8")) as {
  readonly requestFields: Readonly<Record<string, readonly string[]>>;
  readonly schemas: Readonly<Record<string, Shape>>;
};

interface Shape {
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly allOf?: readonly Shape[];
  readonly anyOf?: readonly Shape[];
  readonly oneOf?: readonly Shape[];
  readonly items?: Shape;
  readonly $ref?: string;
}

let server: TestServer;
let closeModel: () => Promise<void>;

beforeAll(async () => {
  const model = await openTestModel();
  closeModel = model.close;
  server = await startTestServer([model.engine]);
});
afterAll(async () => {
  await server.shutdown(0);
  await closeModel();
});

const chat = {
  model: "tiny:alpaca",
  messages: [{ role: "user", content: "Hi" }],
  temperature: 0,
  max_tokens: 6,
  logprobs: true,
  top_logprobs: 2,
};
const completion = { model: "tiny:alpaca", prompt: "Hi", temperature: 0, max_tokens: 6, logprobs: 2 };
const response = {
  model: "tiny:alpaca",
  input: "Hi",
  temperature: 0,
  max_output_tokens: 6,
  include: ["message.output_text.logprobs"],
};

describe("the server's description of itself", () => {
  it("is served, and names every route", async () => {
    const answer = await server.exchange("/openapi.json");
    expect(answer.status).toBe(200);
    const served = JSON.parse(answer.text) as typeof ownDocument & { openapi: string; info: { version: string } };
    expect(served.openapi).toBe("3.1.0");
    expect(served.info.version).toMatch(/^\d+\.\d+\.\d+/);
    expect(served.paths).toEqual(ownDocument.paths);
    expect(served.components).toEqual(ownDocument.components);
    const answered = buildApp()
      .app.routes.filter(({ method }) => method !== "ALL")
      .map(({ method, path }) => `${method} ${pathTemplate(path)}`);
    const described = Object.entries(served.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const page = ["GET /", "GET /favicon.ico", "GET /assets/*", "GET /openapi.json", "GET /docs", "GET /docs/{file}"];
    expect(new Set(answered)).toEqual(new Set([...described, ...page]));
  });

  it("has references that lead somewhere", () => {
    const references = [...JSON.stringify(ownDocument).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)];
    expect(references.length).toBeGreaterThan(30);
    for (const [, name = ""] of references) expect(Object.keys(ownDocument.components.schemas)).toContain(name);
  });

  it("is what answers are held against: a departure is noticed", async () => {
    const before = { ...checked };
    const answer = await server.chat({ ...chat, stream: true });
    expect(checked.events).toBeGreaterThan(before.events + 2);
    const traffic = {
      method: "POST",
      path: "/v1/chat/completions",
      requestBody: JSON.stringify(chat),
      status: 200,
      contentType: "text/event-stream",
    };
    expect(() => checkTraffic({ ...traffic, text: answer.text })).not.toThrow();
    const wrong = answer.text.replace('"finish_reason":null', '"finish_reason":"tired"');
    expect(() => checkTraffic({ ...traffic, text: wrong })).toThrow(/finish_reason/);
    const added = answer.text.replace('"choices"', '"mood":"good","choices"');
    expect(() => checkTraffic({ ...traffic, text: added })).toThrow(/additional properties/);
    const body = { ...traffic, requestBody: JSON.stringify({ ...chat, temperature: "hot" }), text: answer.text };
    expect(() => checkTraffic(body)).toThrow(/accepted request/);
  });

  it("has an example for every JSON body that its own check takes, and those that write text are answered", async () => {
    const withBody = routes.flatMap(({ path, operation }) =>
      operation?.request === undefined ? [] : [{ path, ...operation, request: operation.request }],
    );
    expect(withBody.length).toBeGreaterThan(10);
    for (const { name, request, example } of withBody) {
      expect([name, request.safeParse(example).error?.issues ?? []]).toEqual([name, []]);
    }
    // Of the others, some name the shipped model, some change what is served.
    for (const { path, example } of withBody.filter(({ path }) => !/adapters|vectors|arena|compare/.test(path))) {
      expect([path, (await server.post(path, example as object)).status]).toEqual([path, 200]);
    }
  });

  it("can be browsed at /docs, with nothing from elsewhere", async () => {
    const page = await server.exchange("/docs");
    expect(page.headers["content-type"]).toContain("text/html");
    expect(page.headers["content-security-policy"]).toContain("default-src 'none'");
    const files = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file]) => file ?? "");
    const own = files.filter((file) => !file.startsWith("data:") && file !== "./");
    expect(files).toContain("./");
    expect(own).toHaveLength(3);
    for (const file of own) {
      expect(file).toMatch(/^docs\//);
      const asset = await server.exchange(`/${file}`);
      expect([asset.status, asset.text.length > 50]).toEqual([200, true]);
    }
    expect((await server.exchange("/docs/..%2Fpackage.json")).status).toBe(404);
    expect((await server.exchange("/docs/constructor")).status).toBe(404);
  });
});

describe("beside OpenAI's published document", () => {
  it.each([
    ["ChatCompletionRequest", "CreateChatCompletionRequest"],
    ["CompletionRequest", "CreateCompletionRequest"],
    ["ResponseRequest", "CreateResponse"],
    ["EmbeddingRequest", "CreateEmbeddingRequest"],
  ])("%s knows every field of %s: none is ignored by oversight", (own, theirs) => {
    const known = Object.keys((ownDocument.components.schemas[own] as Shape).properties ?? {});
    expect(known).toEqual(expect.arrayContaining([...(published.requestFields[theirs] ?? [])]));
  });

  it.each([
    ["ChatCompletion", "CreateChatCompletionResponse"],
    ["ChatCompletionChunk", "CreateChatCompletionStreamResponse"],
    ["Completion", "CreateCompletionResponse"],
    ["Response", "Response"],
    ["EmbeddingList", "CreateEmbeddingResponse"],
    ["Embedding", "Embedding"],
    ["Model", "Model"],
    ["ModelList", "ListModelsResponse"],
    ["Error", "ErrorResponse"],
  ])("%s promises every field that %s requires, at any depth", (own, theirs) => {
    const missing = missingFields(
      ownDocument.components.schemas[own] as Shape,
      published.schemas[theirs] as Shape,
      theirs,
    );
    expect(missing).toEqual([]);
  });

  const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
  ajv.addSchema({ $id: "published:document", components: { schemas: published.schemas } });
  const departures = (name: string, value: unknown): string => {
    const validate = ajv.compile({ $ref: `published:document#/components/schemas/${name}` });
    return validate(value) ? "" : ajv.errorsText(validate.errors);
  };
  const dataOf = (answer: Exchange) =>
    framesOf(answer)
      .flatMap((frame) => frame.split("\n"))
      .filter((line) => line.startsWith("data: ") && line !== "data: [DONE]")
      .map((line) => JSON.parse(line.slice("data: ".length)) as { type: string });

  it("answers and chunks are of the published shapes", async () => {
    const usage = { stream: true, stream_options: { include_usage: true } };
    const bodies: [string, Exchange][] = [
      ["CreateChatCompletionResponse", await server.chat(chat)],
      ["CreateCompletionResponse", await server.post("/v1/completions", completion)],
      ["Response", await server.post("/v1/responses", response)],
      ["ListModelsResponse", await server.exchange("/v1/models")],
      ["Model", await server.exchange("/v1/models/tiny")],
      ["ErrorResponse", await server.chat({})],
    ];
    for (const [name, answer] of bodies) {
      expect([name, departures(name, JSON.parse(answer.text))]).toEqual([name, ""]);
    }
    const streams: [string, Exchange][] = [
      ["CreateChatCompletionStreamResponse", await server.chat({ ...chat, ...usage })],
      ["CreateCompletionResponse", await server.post("/v1/completions", { ...completion, ...usage })],
    ];
    for (const [name, answer] of streams) {
      const chunks = dataOf(answer);
      expect(chunks.length).toBeGreaterThan(3);
      // The published shape of completions knows no chunk that is not the last: `finish_reason` may not be null there.
      const shown = name === "CreateCompletionResponse" ? chunks.map(finished) : chunks;
      for (const chunk of shown) expect([name, departures(name, chunk)]).toEqual([name, ""]);
    }
  });

  it("events of a response are of the published shapes", async () => {
    const names: Readonly<Record<string, string>> = {
      "response.created": "ResponseCreatedEvent",
      "response.in_progress": "ResponseInProgressEvent",
      "response.output_item.added": "ResponseOutputItemAddedEvent",
      "response.content_part.added": "ResponseContentPartAddedEvent",
      "response.output_text.delta": "ResponseTextDeltaEvent",
      "response.output_text.done": "ResponseTextDoneEvent",
      "response.content_part.done": "ResponseContentPartDoneEvent",
      "response.output_item.done": "ResponseOutputItemDoneEvent",
      "response.completed": "ResponseCompletedEvent",
      "response.incomplete": "ResponseIncompleteEvent",
    };
    const events = dataOf(await server.post("/v1/responses", { ...response, stream: true }));
    expect(events.length).toBeGreaterThan(8);
    for (const event of events) {
      expect([event.type, departures(names[event.type] ?? "", begun(event))]).toEqual([event.type, ""]);
    }
  });
});

/** The published shape has no usage before there is one; OpenAI itself and Open Responses write null. */
function begun<Event extends { readonly type: string }>(
  event: Event & { readonly response?: { usage?: unknown } },
): Event {
  const { response: whole } = event;
  if (whole === undefined || whole.usage !== null) return event;
  const { usage: _, ...rest } = whole;
  return { ...event, response: rest };
}

/** A chunk of completions as the published shape wants it. */
function finished(chunk: object): object {
  const { choices, ...rest } = chunk as { choices: object[]; usage?: object | null };
  const { usage, ...others } = rest;
  return {
    ...others,
    ...(usage === null ? {} : { usage }),
    choices: choices.map((choice) => ({ ...choice, finish_reason: "stop" })),
  };
}

/** Fields that `theirs` requires and `own` does not promise. */
function missingFields(own: Shape, theirs: Shape, path: string): string[] {
  const ours = resolved(own, ownDocument.components.schemas as Record<string, Shape>);
  const wanted = resolved(theirs, published.schemas);
  const lacking = [...wanted.required].filter((name) => !ours.required.has(name)).map((name) => `${path}.${name}`);
  const deeper = Object.entries(wanted.properties).flatMap(([name, shape]) => {
    const mine = ours.properties[name];
    // Always null, or always an empty list: nothing of it is promised.
    if (mine === undefined || isNothing(mine)) return [];
    // Of several kinds of items the one that the published shapes keep.
    const lacks = (mine.items?.oneOf ?? [mine]).map((kind) => missingFields(kind, shape, `${path}.${name}`));
    return lacks.find((lack) => lack.length === 0) ?? lacks[0] ?? [];
  });
  return [...lacking, ...deeper];
}

function isNothing(shape: Shape & { readonly type?: string; readonly not?: object }): boolean {
  return shape.type === "null" || (shape.items as { readonly not?: object } | undefined)?.not !== undefined;
}

interface Resolved {
  readonly required: ReadonlySet<string>;
  readonly properties: Readonly<Record<string, Shape>>;
}

/** An object's fields, through references, parts, list items, and what may also be null. */
function resolved(shape: Shape, schemas: Readonly<Record<string, Shape>>): Resolved {
  if (shape.$ref !== undefined) {
    return resolved(schemas[shape.$ref.split("/").at(-1) ?? ""] ?? {}, schemas);
  }
  if (shape.items !== undefined) return resolved(shape.items, schemas);
  const alternatives = (shape.anyOf ?? shape.oneOf ?? []).filter((one) => !("type" in one && one.type === "null"));
  const parts = [...(shape.allOf ?? []), ...(alternatives.length === 1 ? alternatives : [])].map((part) =>
    resolved(part, schemas),
  );
  return {
    required: new Set([...(shape.required ?? []), ...parts.flatMap(({ required }) => [...required])]),
    properties: Object.assign({}, ...parts.map(({ properties }) => properties), shape.properties),
  };
}
