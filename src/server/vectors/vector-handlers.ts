import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Context } from "hono";
import type { z } from "zod";
import { EventQueue } from "../../event-queue.js";
import { toHttpError } from "../../openai/error-envelope.js";
import { parseBody } from "../../openai/request-fields.js";
import { dataFrame, doneFrame } from "../../openai/server-sent-events.js";
import { maxVectorBytes } from "../../vectors/vector-file.js";
import type { MakingProgress, ServedVector } from "../../vectors/vector-library.js";
import { eventStreamResponse } from "../generate/event-stream-response.js";
import type { RequestEnvironment } from "../request-environment.js";
import type { Call } from "../route.js";
import type { ServerDeps } from "../server-deps.js";
import { invalidForm, isForm, receiveForm } from "../upload-form.js";
import {
  type madeVectorSchema,
  type makeVectorSchema,
  recipeOf,
  type removedVectorSchema,
  type renameVectorSchema,
  uploadFieldsSchema,
  type vectorEventSchema,
  type vectorListSchema,
  type vectorSchema,
} from "./vector-wire.js";

const fileName = "vector.gguf";

export function listVectors({ deps }: Call): z.input<typeof vectorListSchema> {
  const { served, problems } = deps.vectors;
  return { object: "list", data: served.map(vectorObject), problems: [...problems] };
}

export function retrieveVector({ context, deps }: Call): z.input<typeof vectorSchema> {
  return vectorObject(found(context, deps));
}

export async function downloadVector({ context, deps }: Call): Promise<Response> {
  const { path, info } = found(context, deps);
  return new Response(await readFile(path), {
    headers: {
      "content-type": "application/octet-stream",
      "content-disposition": `attachment; filename="${info.name}.gguf"`,
    },
  });
}

export async function removeVector({ context, deps }: Call): Promise<z.input<typeof removedVectorSchema>> {
  const { model, info } = found(context, deps);
  const { files } = await deps.vectors.remove(model.id, info.name);
  return { id: `${model.id}:${info.name}`, object: "vector", deleted: true, files };
}

export async function renameVector({
  context,
  deps,
  body,
}: Call<z.output<typeof renameVectorSchema>>): Promise<z.input<typeof vectorSchema>> {
  const { model, info } = found(context, deps);
  const { name } = await body();
  return vectorObject(await deps.vectors.rename(model.id, info.name, name));
}

/** Takes a file in, or makes one. */
export async function addVector(call: Call<z.output<typeof makeVectorSchema>>) {
  const { context, deps } = call;
  if (!isForm(context.req.raw)) return makeVector(call);
  // A shutdown waits for it, and none begins in one.
  const running = deps.running.begin(context.req.raw.signal);
  try {
    return vectorObject(await takeIn(context.req.raw, deps));
  } finally {
    running.end();
  }
}

async function takeIn(request: Request, { vectors }: ServerDeps): Promise<ServedVector> {
  const incoming = await vectors.openIncoming();
  try {
    const { fields, files } = await receiveForm(request, {
      folder: incoming.folder,
      maxBytes: maxVectorBytes,
      fields: ["model", "name"],
      ownNameOf: (filename) => (filename.endsWith(".gguf") ? fileName : null),
      subject: "the control vector",
      refusal: (filename) =>
        invalidForm(`The file '${filename}' is no control vector: send a .gguf file, as llama.cpp and repeng write.`),
    });
    const sent = files.get(fileName);
    if (sent === undefined) throw invalidForm("The form holds no file; send a .gguf file as 'file'.");
    const { model, name } = parseBody(uploadFieldsSchema, Object.fromEntries(fields));
    return await vectors.add(model, name ?? basename(sent, ".gguf"), join(incoming.folder, fileName));
  } finally {
    await incoming.remove();
  }
}

async function makeVector({ context, deps, body }: Call<z.output<typeof makeVectorSchema>>) {
  const request = await body();
  const recipe = recipeOf(request);
  const running = deps.running.begin(context.req.raw.signal);
  const { signal } = running;
  const making = (onProgress: (progress: MakingProgress) => void) =>
    deps.vectors.make(recipe, { signal, onProgress }).then(
      ({ vector, sweep }): z.input<typeof madeVectorSchema> => ({
        ...vectorObject(vector),
        sweep: sweep === null ? null : sweep.map(sweepObject),
      }),
    );
  if (request.stream !== true) return making(() => {}).finally(() => running.end());

  const events = new EventQueue<z.input<typeof vectorEventSchema>>();
  making((progress) => events.push({ object: "vector.progress", ...progress }))
    .then(
      (vector) => events.push(vector),
      (error: unknown) => {
        const { status, envelope } = toHttpError(error);
        if (status >= 500 && !signal.aborted) deps.logError(context.get("requestId"), error);
        events.push(envelope);
      },
    )
    .finally(() => events.close());
  return eventStreamResponse(frames(events), {
    status: 201,
    keepAliveMs: deps.limits.keepAliveMs,
    onClose: (how) => {
      if (how === "abandoned") running.abort();
      running.end();
    },
  });
}

async function* frames(events: AsyncIterable<object>): AsyncGenerator<string, void, undefined> {
  for await (const event of events) yield dataFrame(event);
  yield doneFrame;
}

function found(context: Context<RequestEnvironment>, { vectors }: ServerDeps): ServedVector {
  const { model = "", name = "" } = context.req.param();
  return vectors.find(model, name);
}

function vectorObject({ model, info, details, origin }: ServedVector): z.input<typeof vectorSchema> {
  return {
    id: `${model.id}:${info.name}`,
    object: "vector",
    model: model.id,
    name: info.name,
    description: details.description,
    example_prompt: details.examplePrompt,
    layers: [...info.layers],
    recommended: details.recommended === null ? null : [...details.recommended],
    method: details.method,
    norm_share: details.normShare,
    separation: details.separation,
    layer_norm_shares: details.layerNormShares === null ? null : [...details.layerNormShares],
    layer_separations: details.layerSeparations === null ? null : [...details.layerSeparations],
    origin,
    fingerprint: info.fingerprint,
  };
}

function sweepObject({
  strength,
  perplexity,
  repetition,
  coherent,
}: {
  readonly strength: number;
  readonly perplexity: number;
  readonly repetition: number;
  readonly coherent: boolean;
}) {
  return {
    strength,
    perplexity: Number(perplexity.toPrecision(4)),
    repetition: Number(repetition.toPrecision(4)),
    coherent,
  };
}
