import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { openApiDocument } from "../../src/server/page/openapi-document.js";
import { routes } from "../../src/server/routes.js";

/** Holds what goes over the wire in the contract tests against the document that the server gives of itself. */

interface Media {
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
}

interface OperationObject {
  readonly requestBody?: Media;
  readonly responses: Readonly<Record<string, Media>>;
}

export interface OwnDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationObject>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

export const ownDocument = openApiDocument(routes, "0.0.0") as OwnDocument;

const ajv = new Ajv2020({ strict: false, allErrors: true, formats: { "date-time": true } });
ajv.addSchema({ $id: "own:document", ...ownDocument });
const validators = new Map<string, ValidateFunction>();

/** What has been checked so far, so that a test can tell that checking takes place. */
export const checked = { bodies: 0, events: 0, errors: 0, requests: 0 };

export interface Traffic {
  readonly method: string;
  readonly path: string;
  readonly requestBody: string | null;
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

/** @throws Error that names what departs from the document. Paths that the document does not name are left alone. */
export function checkTraffic({ method, path, requestBody, status, contentType, text }: Traffic): void {
  const operation = operationOf(method, path);
  const isJson = contentType.startsWith("application/json");
  if (status >= 400) {
    if (!isJson || isHealth(path)) return;
    checked.errors += 1;
    const ofRoute = operation?.responses[String(status)]?.content?.["application/json"]?.schema;
    const ofOllama = path.startsWith("/api/") ? "OllamaError" : "Error";
    const unnamed = /^\/v1\/messages(\/|$)/.test(path) ? "MessageError" : ofOllama;
    check(
      ofRoute === undefined ? `#/components/schemas/${unnamed}` : referenceOf(ofRoute),
      JSON.parse(text),
      `${status} of ${path}`,
    );
    return;
  }
  const content = operation?.responses[String(status)]?.content;
  if (operation === null || content === undefined) return;
  const schema = content[contentType.split(";")[0] ?? ""]?.schema;
  if (schema === undefined)
    throw new Error(`${method} ${path} answered in ${contentType}, which its description lacks`);
  if (requestBody !== null && operation.requestBody !== undefined) {
    checked.requests += 1;
    const requestSchema = operation.requestBody.content?.["application/json"]?.schema ?? {};
    check(referenceOf(requestSchema), JSON.parse(requestBody), `the accepted request of ${path}`);
  }
  if (isJson) {
    checked.bodies += 1;
    check(referenceOf(schema), JSON.parse(text), `the answer of ${path}`);
    return;
  }
  if (contentType.startsWith("application/x-ndjson") && referenceOf(schema) !== "") {
    for (const line of text.split("\n").filter((one) => one !== "")) {
      const value = parseWhole(line);
      if (value === null) continue;
      checked.events += 1;
      check("error" in value ? "#/components/schemas/OllamaError" : referenceOf(schema), value, `a line of ${path}`);
    }
    return;
  }
  if (!contentType.startsWith("text/event-stream")) return;
  for (const line of text.split("\n").filter((one) => one.startsWith("data: ") && one !== "data: [DONE]")) {
    // A client that hangs up leaves half a line.
    const event = parseWhole(line.slice("data: ".length));
    if (event === null) continue;
    checked.events += 1;
    const isError = "error" in event && !("type" in event || "kind" in event);
    check(isError ? "#/components/schemas/Error" : referenceOf(schema), event, `an event of ${path}`);
  }
}

/** A fetch that checks what it carries, when the whole of it has been read. */
export function checkingFetch(problems: Error[]): typeof fetch {
  return async (input, init) => {
    const answer = await fetch(input, init);
    const url = new URL(input instanceof Request ? input.url : input);
    const copy = answer.clone();
    const requestBody = typeof init?.body === "string" ? init.body : null;
    copy.text().then(
      (text) => {
        try {
          checkTraffic({
            method: init?.method ?? "GET",
            path: url.pathname,
            requestBody,
            status: answer.status,
            contentType: answer.headers.get("content-type") ?? "",
            text,
          });
        } catch (error) {
          problems.push(error as Error);
        }
      },
      // The client hung up.
      () => {},
    );
    return answer;
  };
}

function isHealth(path: string): boolean {
  return path === "/health" || path === "/readyz";
}

function parseWhole(json: string): object | null {
  try {
    return JSON.parse(json) as object;
  } catch {
    return null;
  }
}

function operationOf(method: string, path: string): OperationObject | null {
  const [name] = Object.keys(ownDocument.paths).filter((template) =>
    new RegExp(`^${template.replaceAll(".", "\\.").replace(/\{\w+\}/g, ".+")}$`).test(path.split("?")[0] ?? ""),
  );
  return (name === undefined ? undefined : ownDocument.paths[name]?.[method.toLowerCase()]) ?? null;
}

function referenceOf(schema: object): string {
  return "$ref" in schema && typeof schema.$ref === "string" ? schema.$ref : "";
}

function check(reference: string, value: unknown, what: string): void {
  let validate = validators.get(reference);
  if (validate === undefined) {
    validate = ajv.compile({ $ref: `own:document${reference}` });
    validators.set(reference, validate);
  }
  if (!validate(value)) {
    throw new Error(`${what} departs from ${reference}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(value)}`);
  }
}
