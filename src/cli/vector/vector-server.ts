import { EventSourceParserStream } from "eventsource-parser/stream";
import { z } from "zod";
import { ToastError } from "../../errors.js";
import { errorText, failureText, jsonOf } from "../../remote-response.js";
import { refused, type ServerClient } from "../server-client.js";

const vectorSchema = z.looseObject({
  id: z.string(),
  model: z.string(),
  name: z.string(),
  description: z.string().nullable(),
  example_prompt: z.string().nullable(),
  layers: z.tuple([z.number(), z.number()]),
  recommended: z.tuple([z.number(), z.number()]).nullable(),
  method: z.string().nullable(),
  norm_share: z.number().nullable(),
  separation: z.number().nullable(),
  layer_norm_shares: z.array(z.number()).nullable(),
  layer_separations: z.array(z.number()).nullable(),
  origin: z.string(),
  fingerprint: z.string(),
});
export type WireVector = z.output<typeof vectorSchema>;

const madeSchema = vectorSchema.extend({
  sweep: z
    .array(z.object({ strength: z.number(), perplexity: z.number(), repetition: z.number(), coherent: z.boolean() }))
    .nullish(),
});
export type MadeVector = z.output<typeof madeSchema>;

const progressSchema = z.object({
  object: z.literal("vector.progress"),
  stage: z.string(),
  done: z.number(),
  total: z.number(),
});
const listSchema = z.looseObject({ data: z.array(vectorSchema) });
const answerSchema = z.looseObject({
  choices: z.array(z.looseObject({ message: z.looseObject({ content: z.string() }) })),
});

/** This server, seen from a command about control vectors. */
export class VectorServer {
  readonly #client: ServerClient;

  constructor(client: ServerClient) {
    this.#client = client;
  }

  /** Those that are served. @throws ToastError `server_refused` */
  async list(): Promise<readonly WireVector[]> {
    const response = await this.#client.fetch("/vectors");
    return (await this.#client.read(response, listSchema, "a list of control vectors")).data;
  }

  /** @throws ToastError `invalid_option` for one that is not there, or of several models. */
  async find(name: string, model: string | null): Promise<WireVector> {
    const all = await this.list();
    const named = all.filter((vector) => vector.name === name && (model === null || vector.model === model));
    const [only] = named;
    if (only !== undefined && named.length === 1) return only;
    if (only !== undefined) {
      const models = named.map((vector) => vector.model).join(", ");
      throw new ToastError(
        "invalid_option",
        `Several models have a control vector '${name}': ${models}. Name one with --model-id.`,
      );
    }
    const known = all.map((vector) => vector.name).join(", ") || "none";
    throw new ToastError("invalid_option", `There is no control vector '${name}'. There are: ${known}.`);
  }

  /**
   * Has one made.
   * @throws ToastError `server_refused` with the server's own words; the signal's reason when it aborts.
   */
  async make(
    recipe: object,
    signal: AbortSignal,
    onProgress: (stage: string, fraction: number) => void,
  ): Promise<MadeVector> {
    const response = await this.#client.post("/vectors", { ...recipe, stream: true }, signal);
    if (response.body === null) throw refused("the server sent no answer");
    const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
    try {
      for await (const { data } of events) {
        const failure = errorText(data);
        if (failure !== null) throw refused(failure);
        const progress = progressSchema.safeParse(jsonOf(data));
        if (progress.success) onProgress(progress.data.stage, progress.data.done / progress.data.total);
        const made = madeSchema.safeParse(jsonOf(data));
        if (made.success) return made.data;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof ToastError ? error : refused(failureText(error));
    }
    throw refused("the connection ended before the vector was made");
  }

  /** The bytes of its file. @throws ToastError `server_refused` */
  async download({ model, name }: WireVector): Promise<Uint8Array> {
    const response = await this.#client.fetch(`/vectors/${model}/${name}/download`);
    return new Uint8Array(await response.arrayBuffer());
  }

  /** One answer to a prompt. @throws ToastError `server_refused`; the signal's reason when it aborts. */
  async answer(request: object, signal: AbortSignal): Promise<string> {
    const response = await this.#client.post("/chat/completions", request, signal);
    const { choices } = await this.#client.read(response, answerSchema, "a chat completion");
    return choices[0]?.message.content ?? "";
  }
}
