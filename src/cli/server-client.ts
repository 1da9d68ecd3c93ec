import type { z } from "zod";
import { ToastError } from "../errors.js";
import { errorText, failureText, jsonOf } from "../remote-response.js";

/** A server that speaks OpenAI's interface, seen from a command that asks it. */
export class ServerClient {
  /** With its version, without a slash at the end: `http://127.0.0.1:8000/v1`. */
  readonly baseUrl: string;
  readonly #apiKey: string | null;

  constructor(baseUrl: string, apiKey: string | null) {
    this.baseUrl = baseUrl;
    this.#apiKey = apiKey;
  }

  /** Sends a body as JSON. @throws ToastError as `fetch` */
  post(path: string, body: object, signal?: AbortSignal): Promise<Response> {
    const headers = { "content-type": "application/json" };
    return this.fetch(path, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /**
   * @param path below the base URL; `..` leads to what stands beside `/v1`.
   * @returns a successful response.
   * @throws ToastError `server_refused` with the server's own words; the signal's reason when it aborts.
   */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.#apiKey !== null) headers.set("authorization", `Bearer ${this.#apiKey}`);
    let response: Response;
    try {
      response = await fetch(`${this.baseUrl}${path}`, { ...init, headers });
    } catch (error) {
      init.signal?.throwIfAborted();
      throw refused(`${this.baseUrl} cannot be reached: ${failureText(error)}`);
    }
    if (response.ok) return response;
    const detail = errorText(await response.text()) ?? `${response.status} ${response.statusText}`.trim();
    throw refused(response.status === 401 ? `${detail} Give a key with --api-key or OPENAI_API_KEY.` : detail);
  }

  /** Reads a JSON answer of a known form. @throws ToastError `server_refused` for any other. */
  async read<T>(response: Response, schema: z.ZodType<T>, what: string): Promise<T> {
    const parsed = schema.safeParse(jsonOf(await response.text()));
    if (parsed.success) return parsed.data;
    throw refused(`${this.baseUrl} answered with something else than ${what}`);
  }
}

/** The key of the option, or of OPENAI_API_KEY; an empty one is none. */
export function apiKeyOf(option: string | undefined, { OPENAI_API_KEY }: NodeJS.ProcessEnv): string | null {
  const key = option ?? OPENAI_API_KEY ?? "";
  return key === "" ? null : key;
}

/** An address without a path means `/v1`, where OpenAI's interface usually is. @throws ToastError `invalid_option` */
export function baseUrlOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    const message = `--url must be an address such as http://127.0.0.1:8000/v1; got '${text}'.`;
    throw new ToastError("invalid_option", message);
  }
  const path = url.pathname.replace(/\/+$/, "");
  return `${url.origin}${path === "" ? "/v1" : path}`;
}

export function refused(message: string): ToastError {
  return new ToastError("server_refused", /[.!?]$/.test(message) ? message : `${message}.`);
}
