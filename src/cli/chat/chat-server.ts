import { EventSourceParserStream } from "eventsource-parser/stream";
import { z } from "zod";
import { ToastError } from "../../errors.js";
import { errorText, failureText, jsonOf } from "../../remote-response.js";
import { refused, type ServerClient } from "../server-client.js";
import type { KnownVector } from "./slash-command.js";

const modelsSchema = z.looseObject({ data: z.array(z.looseObject({ id: z.string() })) });
const vectorsSchema = z.looseObject({
  data: z.array(
    z.looseObject({
      model: z.string(),
      name: z.string(),
      description: z.string().nullable(),
      recommended: z.tuple([z.number(), z.number()]).nullable(),
    }),
  ),
});
const chunkSchema = z.looseObject({
  choices: z.array(z.looseObject({ delta: z.looseObject({ content: z.string().nullish() }).nullish() })).default([]),
});
/** A server that speaks OpenAI's chat completions, seen from somebody who talks to it. */
export class ChatServer {
  readonly #client: ServerClient;

  constructor(client: ServerClient) {
    this.#client = client;
  }

  /** The ids that are served now. @throws ToastError `server_refused` */
  async models(): Promise<readonly string[]> {
    const response = await this.#client.fetch("/models");
    const { data } = await this.#client.read(response, modelsSchema, "a list of models");
    return data.map(({ id }) => id);
  }

  /**
   * The control vectors of all models.
   * @throws ToastError `server_refused`, also of a server that has no such thing.
   */
  async vectors(): Promise<readonly KnownVector[]> {
    const response = await this.#client.fetch("/vectors");
    return (await this.#client.read(response, vectorsSchema, "a list of control vectors")).data;
  }

  /**
   * The texts of an answer as they come.
   * @throws ToastError `server_refused` with the server's own words, also half-way; the signal's reason when it aborts.
   */
  async *answer(request: object, signal: AbortSignal): AsyncGenerator<string, void, undefined> {
    const response = await this.#client.post("/chat/completions", request, signal);
    if (response.body === null) throw refused("the server sent no answer");
    const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
    let isComplete = false;
    try {
      for await (const { data } of events) {
        if (data === "[DONE]") {
          isComplete = true;
          break;
        }
        const failure = errorText(data);
        if (failure !== null) throw refused(failure);
        const chunk = chunkSchema.safeParse(jsonOf(data));
        const text = chunk.success ? (chunk.data.choices[0]?.delta?.content ?? "") : "";
        if (text !== "") yield text;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof ToastError ? error : refused(failureText(error));
    }
    if (!isComplete) throw refused("the connection ended before the answer did");
  }
}
