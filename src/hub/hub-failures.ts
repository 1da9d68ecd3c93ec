import { ToastError } from "../errors.js";
import { TransientFailure } from "./retry.js";

/** What was asked for, for sentences. */
export interface RequestTarget {
  readonly endpoint: string;
  readonly repo: string;
  readonly revision: string;
  readonly hasToken: boolean;
}

/** As much of a response as a failure is told by; `Response` fits. */
interface FailedResponse {
  readonly status: number;
  readonly url: string;
  readonly headers: { get(name: string): string | null };
}

/** Statuses that a second try can change. */
const passing: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/**
 * What a response that is no success means.
 * @param fromHub whether the hub itself gave it, not a host that it sent us to.
 * @returns a TransientFailure where a second try may help, else a ToastError: `repository_not_found`,
 *   `repository_denied`, `hub_unreachable`.
 * @see https://huggingface.co/docs/hub/api for the `x-error-code` header.
 */
export function responseFailure(
  response: FailedResponse,
  target: RequestTarget,
  fromHub: boolean,
): TransientFailure | ToastError {
  const { status, headers } = response;
  const { endpoint, repo } = target;
  const host = new URL(response.url).host;
  const said = serverWords(headers.get("x-error-message"));
  const code = headers.get("x-error-code");
  if (passing.has(status)) {
    const reason = `${host} ${status === 429 ? "asks for fewer requests" : "has trouble"} (${status})`;
    const afterMs = retryAfterMs(headers);
    const later = afterMs === null ? "later" : `in ${Math.ceil(afterMs / 1000)} seconds`;
    const login = status === 429 && !target.hasToken ? " With HF_TOKEN set, more requests are allowed." : "";
    const final = new ToastError("hub_unreachable", `${reason}${said}. Try again ${later}.${login}`);
    return new TransientFailure(reason, final, { afterMs });
  }
  if (!fromHub) {
    // Signed addresses expire; the hub gives a new one each time it is asked.
    const reason = `${host}, where ${endpoint} sends downloads, refused one (${status})`;
    const sentence = `${reason}. Try again; if it stays so, a proxy or firewall may be in between.`;
    return new TransientFailure(reason, new ToastError("hub_unreachable", sentence), { tries: 3 });
  }
  if (code === "RevisionNotFound") {
    const sentence = `${repo} has no revision '${target.revision}'. ${endpoint}/${repo}/tree/main lists its branches and tags.`;
    return new ToastError("repository_not_found", sentence);
  }
  if (code === "EntryNotFound") {
    return new ToastError(
      "repository_not_found",
      `${repo} has no such file: ${decodeURI(new URL(response.url).pathname)}.`,
    );
  }
  if (code === "GatedRepo") return new ToastError("repository_denied", gated(target));
  if (status === 401 && /invalid (credentials|username|token)/i.test(said)) {
    const sentence = `${endpoint} does not know this HF_TOKEN${said}. Make a new one at ${endpoint}/settings/tokens, or unset it for public models.`;
    return new ToastError("repository_denied", sentence);
  }
  if (status === 401 || status === 404) {
    const hint = target.hasToken
      ? "check the name; if it is private, your token must be allowed to read it"
      : `check the name; if it is private, set HF_TOKEN to a token of ${endpoint}/settings/tokens`;
    return new ToastError("repository_not_found", `${endpoint} has no model ${repo}, or does not show it: ${hint}.`);
  }
  if (status === 403) {
    const hint = target.hasToken
      ? `Your token must be allowed to read it: see ${endpoint}/settings/tokens, and ${endpoint}/${repo} for its terms`
      : `Set HF_TOKEN to a token of ${endpoint}/settings/tokens that may read it`;
    return new ToastError("repository_denied", `${endpoint} does not let you have ${repo}${said}. ${hint}.`);
  }
  return new ToastError("hub_unreachable", `${endpoint} answered ${status} for ${repo}${said}: is it a hub?`);
}

function gated({ endpoint, repo, hasToken }: RequestTarget): string {
  const page = `${endpoint}/${repo}`;
  return hasToken
    ? `${repo} is gated, and your token has no access to it yet: visit ${page}, accept its terms, wait if its authors have to agree, then try again.`
    : `${repo} is gated: visit ${page}, accept its terms, then set HF_TOKEN to a token of ${endpoint}/settings/tokens.`;
}

/** No answer at all, or one that broke off. */
export function networkFailure(url: string, error: unknown, endpoint: string): TransientFailure {
  const code = codeOf(error);
  const { host } = new URL(url);
  const certificate = /CERT|SIGNATURE|SELF_SIGNED/.test(code);
  const hint = certificate
    ? "Its certificate is not trusted here: NODE_EXTRA_CA_CERTS names a file of further ones"
    : "Check the network, HTTPS_PROXY and HF_ENDPOINT; HF_HUB_OFFLINE=1 goes by what is downloaded already";
  const origin = host === new URL(endpoint).host ? endpoint : `${host} (where ${endpoint} sends downloads)`;
  const reason = `${origin} cannot be reached (${code})`;
  const final = new ToastError("hub_unreachable", `${reason}. ${hint}.`, { cause: error });
  // A name that is not found and a port that nobody listens on rarely change while one waits.
  const tries = certificate ? 1 : /ENOTFOUND|ECONNREFUSED|EAI_AGAIN/.test(code) ? 2 : 5;
  return new TransientFailure(reason, final, { tries });
}

/** The innermost code: fetch wraps what happened, and several addresses of one host in yet another error. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  if ("code" in error && typeof error.code === "string") return error.code;
  return error.cause instanceof Error ? codeOf(error.cause) : error.message;
}

/** `retry-after` in seconds or as a date, else when the hub's own `ratelimit` window ends. */
function retryAfterMs(headers: FailedResponse["headers"]): number | null {
  const after = headers.get("retry-after")?.trim() ?? "";
  if (/^\d{1,9}$/.test(after)) return Number(after) * 1000;
  const date = Date.parse(after);
  if (!Number.isNaN(date)) return Math.max(0, date - Date.now());
  const [, remaining, reset] = /r=(\d{1,9});\s*t=(\d{1,9})/.exec(headers.get("ratelimit") ?? "") ?? [];
  return remaining === "0" && reset !== undefined ? Number(reset) * 1000 : null;
}

/** A stranger's words, fit for a terminal. */
function serverWords(text: string | null): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is taken out.
  const clean = (text ?? "").replaceAll(/[\x00-\x1f\x7f-\x9f]+/g, " ").trim();
  return clean === "" ? "" : `: “${clean.slice(0, 300).replace(/[.\s]+$/, "")}”`;
}
