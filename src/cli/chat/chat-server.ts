import { EventSourceParserStream } from "eventsource-parser/stream";
import { z } from "zod";
import { ToastError } from "../../errors.js";
import { errorText, failureText, jsonOf } from "../../openai/foreign-answer.js";

const modelsSchema = z.looseObject({ data: z.array(z.looseObject({ id: z.string() })) });
const chunkSchema = z.looseObject({
  choices: z.array(z.looseObject({ delta: z.looseObject({ content: z.string().nullish() }).nullish() })).default([]),
});
/** A server that speaks OpenAI's chat completions, seen from somebody who talks to it. */
export class ChatServer {
  /** With its version, without a slash at the end: `http://127.0.0.1:8000/v1`. */
  readonly #baseUrl: string;
  readonly #apiKey: string | null;

  constructor(baseUrl: string, apiKey: string | null) {
    this.#baseUrl = baseUrl;
    this.#apiKey = apiKey;
  }

  /** The ids that are served now. @throws ToastError `server_refused` */
  async models(): Promise<readonly string[]> {
    const response = await this.#fetch("/models", {});
    const parsed = modelsSchema.safeParse(jsonOf(await response.text()));
    if (parsed.success) return parsed.data.data.map(({ id }) => id);
    throw refused(`${this.#baseUrl}/models is no list of models`);
  }

  /**
   * The texts of an answer as they come.
   * @throws ToastError `server_refused` with the server's own words, also half-way; the signal's reason when it aborts.
   */
  async *answer(request: object, signal: AbortSignal): AsyncGenerator<string, void, undefined> {
    const response = await this.#fetch("/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
      signal,
    });
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

  /** @throws ToastError `server_refused` */
  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.#apiKey !== null) headers.set("authorization", `Bearer ${this.#apiKey}`);
    let response: Response;
    try {
      response = await fetch(`${this.#baseUrl}${path}`, { ...init, headers });
    } catch (error) {
      init.signal?.throwIfAborted();
      throw refused(`${this.#baseUrl} cannot be reached: ${failureText(error)}`);
    }
    if (response.ok) return response;
    const detail = errorText(await response.text()) ?? response.statusText;
    throw refused(response.status === 401 ? `${detail} Give a key with --api-key or OPENAI_API_KEY.` : detail);
  }
}

function refused(message: string): ToastError {
  return new ToastError("server_refused", /[.!?]$/.test(message) ? message : `${message}.`);
}
