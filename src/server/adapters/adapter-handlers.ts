import type { Context } from "hono";
import { z } from "zod";
import type { ServedAdapter } from "../../adapters/adapter-library.js";
import { ToastError } from "../../errors.js";
import { presentationFields, presentationObject } from "../../openai/model-object.js";
import { requestSchemas, responseSchemas } from "../../openai/named-schemas.js";
import { field, optional, parseBody } from "../../openai/request-fields.js";
import type { Call } from "../route.js";
import type { ServerDeps } from "../server-deps.js";
import { isForm } from "../upload-form.js";
import { within } from "../within.js";
import { receiveUpload } from "./adapter-upload.js";

/** How long DELETE waits for the requests that still use the adapter before it says so. */
const unloadTimeoutMs = 20_000;

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
export const addedAdapterSchema = descriptionSchema
  .extend({ path: z.string(field("a path inside this server's adapters folder")) })
  .register(requestSchemas, { id: "AdapterAtPath" });

export const adapterSchema = z
  .object({
    id: z.string(),
    object: z.literal("adapter"),
    model: z.string().describe("The base's id."),
    name: z.string(),
    stage: z.string(),
    licence: z.string().nullable(),
    ...presentationFields,
    fingerprint: z.string(),
    origin: z.enum(["model_folder", "watched_folder", "upload"]),
  })
  .describe("An adapter that is served.")
  .register(responseSchemas, { id: "Adapter" });

export const adapterListSchema = z
  .object({
    object: z.literal("list"),
    data: z.array(adapterSchema),
    problems: z
      .array(z.object({ path: z.string(), message: z.string() }))
      .describe("Files of the adapters folder that are not served, and why."),
  })
  .register(responseSchemas, { id: "AdapterList" });

export const removedAdapterSchema = z
  .object({
    id: z.string(),
    object: z.literal("adapter"),
    deleted: z.literal(true),
    files: z.enum(["removed", "kept"]),
    memory: z.enum(["freed", "in_use"]).describe("in_use: until the requests that began before have ended."),
  })
  .register(responseSchemas, { id: "RemovedAdapter" });

export function listAdapters({ deps }: Call): z.input<typeof adapterListSchema> {
  const { served, problems } = deps.adapters.library;
  return { object: "list", data: served.map(adapterObject), problems: [...problems] };
}

export function retrieveAdapter({ context, deps }: Call) {
  return adapterObject(findAdapter(context, deps));
}

export async function removeAdapter({ context, deps }: Call): Promise<z.input<typeof removedAdapterSchema>> {
  const { model, info } = findAdapter(context, deps);
  const { files, released } = await deps.adapters.library.remove(model.id, info.name);
  const outcome = await within(released, unloadTimeoutMs);
  // Requests that began before may go on for long; nothing new reaches the adapter all the same.
  const memory = outcome === "late" ? "in_use" : "freed";
  return { id: `${model.id}:${info.name}`, object: "adapter", deleted: true, files, memory };
}

export async function addAdapter(call: Call<z.output<typeof addedAdapterSchema>>) {
  // A shutdown waits for it, and none begins in one.
  const running = call.deps.running.begin(call.context.req.raw.signal);
  try {
    return adapterObject(await takeIn(call));
  } finally {
    running.end();
  }
}

async function takeIn({ context, deps, body }: Call<z.output<typeof addedAdapterSchema>>): Promise<ServedAdapter> {
  const { library, maxBytes } = deps.adapters;
  const request = context.req.raw;
  const incoming = await library.openIncoming();
  try {
    if (isForm(request)) {
      const { fields, files } = await receiveUpload(request, incoming.folder, maxBytes);
      return await library.add({ ...parseBody(descriptionSchema, Object.fromEntries(fields)), files }, incoming.folder);
    }
    const described = await body();
    return await library.add({ ...described, files: await library.filesAt(described.path) }, incoming.folder);
  } finally {
    await incoming.remove();
  }
}

/** @throws ToastError `model_not_found` */
function findAdapter(context: Context, { adapters }: ServerDeps): ServedAdapter {
  const { model = "", name = "" } = context.req.param();
  const found = adapters.library.served.find((one) => one.model.id === model && one.info.name === name);
  if (found !== undefined) return found;
  const shown = `${model}:${name}`.slice(0, 200);
  throw new ToastError("model_not_found", `There is no adapter '${shown}'. See GET /v1/adapters.`, { param: "name" });
}

function adapterObject({ model, info, origin }: ServedAdapter): z.input<typeof adapterSchema> {
  return {
    id: `${model.id}:${info.name}`,
    object: "adapter",
    model: model.id,
    name: info.name,
    stage: info.stage,
    licence: info.licence,
    ...presentationObject(info),
    fingerprint: info.fingerprint,
    origin,
  };
}
