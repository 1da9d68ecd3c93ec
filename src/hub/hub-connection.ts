import { Agent, type Dispatcher, EnvHttpProxyAgent, type Response, fetch as undiciFetch } from "undici";
import { networkFailure, type RequestTarget, responseFailure } from "./hub-failures.js";
import { defaultEndpoint, type HubSettings } from "./hub-settings.js";
import { TransientFailure } from "./retry.js";

export interface HubRequest {
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly signal?: AbortSignal | undefined;
}

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const maxRedirects = 5;
/** Without a byte; then the connection is taken for broken. */
const silenceMs = 30_000;

/**
 * Asks the hub. Node's own fetch is not enough: it knows no proxies before version 24, and would take the token nowhere
 * or everywhere when it is redirected.
 */
export class HubConnection {
  readonly settings: HubSettings;
  readonly #dispatcher: Dispatcher;
  readonly #userAgent: string;

  /** @param version of this package. */
  constructor(settings: HubSettings, version: string) {
    this.settings = settings;
    this.#userAgent = `toast-serve/${version}; node/${process.versions.node}`;
    const { http, https, none } = settings.proxies;
    const timeouts = { headersTimeout: silenceMs, bodyTimeout: silenceMs, connect: { timeout: 10_000 } };
    this.#dispatcher =
      http === "" && https === ""
        ? new Agent(timeouts)
        : new EnvHttpProxyAgent({ ...timeouts, httpProxy: http, httpsProxy: https, noProxy: none });
  }

  /**
   * One GET, with its redirects followed. The token goes to the hub only, not to the hosts that downloads come from.
   * @returns a response of status 200 to 299, its body unread, and 416, which only a request for a part gets.
   * @throws TransientFailure, ToastError as `responseFailure`, AbortError.
   */
  async get(url: string, target: { readonly repo: string; readonly revision: string }, request: HubRequest = {}) {
    let address = new URL(url);
    for (let hop = 0; hop <= maxRedirects; hop++) {
      const response = await this.#getOnce(address, request);
      if (response.ok || response.status === 416) return response;
      const location = response.headers.get("location");
      await response.body?.cancel();
      if (!redirects.has(response.status) || location === null) {
        throw responseFailure(response, this.#target(target), this.#isHub(address));
      }
      const next = URL.canParse(location, address.href) ? new URL(location, address.href) : null;
      // A hub on https does not send anybody to where others can read along.
      if (next === null || !(next.protocol === "https:" || next.protocol === address.protocol)) break;
      address = next;
    }
    const lost = new Error(`the redirects of ${url} lead nowhere`);
    throw networkFailure(address.href, lost, this.settings.endpoint).final;
  }

  /** Idle connections would keep the process. */
  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  async #getOnce(address: URL, { headers, signal }: HubRequest): Promise<Response> {
    const { token, endpoint } = this.settings;
    try {
      return await undiciFetch(address, {
        dispatcher: this.#dispatcher,
        redirect: "manual",
        headers: {
          ...headers,
          "user-agent": this.#userAgent,
          ...(token !== null && this.#isHub(address) ? { authorization: `Bearer ${token}` } : {}),
        },
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : networkFailure(address.href, error, endpoint);
    }
  }

  /** A mirror sends on to the hub itself, whose token it is. */
  #isHub({ origin }: URL): boolean {
    return origin === new URL(this.settings.endpoint).origin || origin === defaultEndpoint;
  }

  #target({ repo, revision }: { readonly repo: string; readonly revision: string }): RequestTarget {
    const { endpoint, token } = this.settings;
    return { endpoint, repo, revision, hasToken: token !== null };
  }
}

/** Whether a failure says nothing of what was asked for: the hub could not be asked at all. */
export function isUnreachable(error: unknown): boolean {
  const failure = error instanceof TransientFailure ? error.final : error;
  return failure instanceof Error && "code" in failure && failure.code === "hub_unreachable";
}
