import type { Context, Hono } from "hono";
import { z } from "zod";
import { ToastError } from "../errors.js";
import type { OtherOperation } from "../openai/openapi-document.js";
import { field, optional, parseBody } from "../openai/request-fields.js";
import type { AdapterArrivalFiles } from "./adapter-builder.js";
import type { AdapterLibrary, ServedAdapter } from "./adapter-library.js";
import { receiveUpload } from "./adapter-upload.js";
import { readJsonBody } from "./read-json-body.js";
import type { RequestEnvironment } from "./request-environment.js";
import type { RunningRequests } from "./running-requests.js";
import { within } from "./within.js";

export interface AdapterRoutesDeps {
  readonly adapters: AdapterLibrary;
  readonly running: RunningRequests;
  /** Of an uploaded adapter. */
  readonly maxAdapterBytes: number;
  /** Of any other body. */
  readonly maxBodyBytes: number;
}

/** How long DELETE waits for the requests that still use the adapter before it says so. */
const unloadPatienceMs = 20_000;

const sha256 = z
  .string(field("a sha256 in hexadecimal digits"))
  .regex(/^[0-9A-Fa-f]{64}$/, "must be a sha256: 64 hexadecimal digits.")
  .toLowerCase();
const descriptionSchema = z.object(
  {
    model: z.string(field("the id of a served model, without an adapter (see GET /v1/models)")),
    name: optional(z.string(field("a string"))),
    sha256: optional(sha256),
  },
  field("a JSON object"),
);
const pathSchema = descriptionSchema.extend({
  path: z.string(field("a path inside this server's adapters folder")),
});

const modelAndName = ["model", "name"].map((name) => ({
  name,
  in: "path",
  required: true,
  schema: { type: "string" },
}));

/** For /openapi.json. */
export const adapterOperations: readonly OtherOperation[] = [
  {
    method: "get",
    path: "/v1/adapters",
    name: "listAdapters",
    summary: "The adapters that are served, where they came from, and files that could not be. For operators.",
    answer: { description: "A list.", contentType: "application/json" },
    failures: [],
  },
  {
    method: "post",
    path: "/v1/adapters",
    name: "addAdapter",
    summary: "Serves one more adapter: of a path inside the adapters folder, or sent along. For operators.",
    body: {
      "application/json": pathSchema,
      "multipart/form-data": "The fields model, name and sha256, and the adapter's files (docs/adapters.md).",
    },
    answer: { description: "The adapter, which is served now.", contentType: "application/json", status: 201 },
    failures: [400, 404, 413, 503],
  },
  {
    method: "get",
    path: "/v1/adapters/{model}/{name}",
    name: "retrieveAdapter",
    summary: "One of them. For operators.",
    parameters: modelAndName,
    answer: { description: "The adapter.", contentType: "application/json" },
    failures: [404],
  },
  {
    method: "delete",
    path: "/v1/adapters/{model}/{name}",
    name: "removeAdapter",
    summary: "Takes one away; requests that use it may end first. For operators.",
    parameters: modelAndName,
    answer: { description: "What became of its memory and files.", contentType: "application/json" },
    failures: [404, 503],
  },
];

/** GET, POST and DELETE of adapters. Who may call them is decided before. */
export function addAdapterRoutes(app: Hono<RequestEnvironment>, deps: AdapterRoutesDeps): void {
  const { adapters } = deps;
  app.get("/v1/adapters", (context) =>
    context.json({ object: "list", data: adapters.served.map(adapterObject), problems: adapters.problems }),
  );
  app.post("/v1/adapters", async (context) => context.json(adapterObject(await addAdapter(context, deps)), 201));
  app.get("/v1/adapters/:model/:name", (context) => context.json(adapterObject(findAdapter(context, adapters))));
  app.delete("/v1/adapters/:model/:name", async (context) => {
    const { model, info } = findAdapter(context, adapters);
    const { files, released } = await adapters.remove(model.id, info.name);
    const outcome = await within(released, unloadPatienceMs);
    return context.json({
      id: `${model.id}:${info.name}`,
      object: "adapter",
      deleted: true,
      files,
      // Requests that began before may go on for long; nothing new reaches the adapter all the same.
      memory: outcome === "late" ? "in_use" : "freed",
    });
  });
}

async function addAdapter(context: Context, deps: AdapterRoutesDeps): Promise<ServedAdapter> {
  const request = context.req.raw;
  // A shutdown waits for it, and none begins in one.
  const running = deps.running.begin(request.signal);
  try {
    return await takeIn(request, deps);
  } finally {
    running.end();
  }
}

async function takeIn(request: Request, deps: AdapterRoutesDeps): Promise<ServedAdapter> {
  const { adapters } = deps;
  const isForm = /^multipart\/form-data\b/i.test(request.headers.get("content-type") ?? "");
  const incoming = await adapters.openIncoming();
  try {
    let described: z.infer<typeof descriptionSchema>;
    let files: AdapterArrivalFiles;
    if (isForm) {
      const upload = await receiveUpload(request, incoming.folder, deps.maxAdapterBytes);
      described = parseBody(descriptionSchema, Object.fromEntries(upload.fields));
      files = upload.files;
    } else {
      const body = parseBody(pathSchema, await readJsonBody(request, deps.maxBodyBytes));
      described = body;
      files = await adapters.filesAt(body.path);
    }
    return await adapters.add({ ...described, files }, incoming.folder);
  } finally {
    await incoming.remove();
  }
}

/** @throws ToastError `model_not_found` */
function findAdapter(context: Context, adapters: AdapterLibrary): ServedAdapter {
  const { model = "", name = "" } = context.req.param();
  const found = adapters.served.find((one) => one.model.id === model && one.info.name === name);
  if (found !== undefined) return found;
  const shown = `${model}:${name}`.slice(0, 200);
  throw new ToastError("model_not_found", `There is no adapter '${shown}'. See GET /v1/adapters.`, { param: "name" });
}

function adapterObject({ model, info, origin }: ServedAdapter) {
  return {
    id: `${model.id}:${info.name}`,
    object: "adapter" as const,
    model: model.id,
    name: info.name,
    stage: info.stage,
    licence: info.licence,
    fingerprint: info.fingerprint,
    origin,
  };
}
