import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { ToastError } from "../errors.js";

/** What the environment says of the hub, in the words that Python's huggingface_hub has for it. */
export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** Null: nobody is logged in. */
  readonly token: string | null;
  /** `models--org--name` folders lie in it; shared with Python. */
  readonly cacheDir: string;
  /** Converted models lie in it. */
  readonly convertedDir: string;
  /** The variable that forbids asking the hub, or null. */
  readonly offlineBecause: string | null;
  readonly proxies: Proxies;
}

/** Addresses, or empty; `none` lists hosts that are asked directly. */
export interface Proxies {
  readonly http: string;
  readonly https: string;
  readonly none: string;
}

export const defaultEndpoint = "https://huggingface.co";

/**
 * @throws ToastError `invalid_option` for an HF_ENDPOINT that is no address, or a token that cannot be one.
 * @see https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
 */
export async function readHubSettings(environment: NodeJS.ProcessEnv): Promise<HubSettings> {
  const variable = (...names: readonly string[]): string | null =>
    names.map((name) => environment[name]?.trim()).find((value) => value !== undefined && value !== "") ?? null;
  const folder = (name: string, ...others: readonly string[]): string | null => {
    const value = variable(name, ...others);
    return value === null ? null : resolve(value.replace(/^~(?=$|\/)/, homedir()));
  };
  const home = folder("HF_HOME") ?? join(folder("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "huggingface");
  const offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].find((name) => isYes(variable(name)));
  return {
    endpoint: endpointOf(variable("HF_ENDPOINT") ?? defaultEndpoint),
    token: isYes(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
      ? null
      : await tokenOf(variable("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"), folder("HF_TOKEN_PATH") ?? join(home, "token")),
    cacheDir: folder("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") ?? join(home, "hub"),
    convertedDir: folder("TOAST_CACHE") ?? join(home, "toast-serve"),
    offlineBecause: offline ?? null,
    proxies: {
      http: variable("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY") ?? "",
      https: variable("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY") ?? "",
      none: variable("no_proxy", "NO_PROXY") ?? "",
    },
  };
}

function endpointOf(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.search !== "" || url.hash !== "") {
    throw new ToastError(
      "invalid_option",
      `HF_ENDPOINT must be an address such as ${defaultEndpoint}; got '${value}'.`,
    );
  }
  return value.replace(/\/+$/, "");
}

async function tokenOf(given: string | null, file: string): Promise<string | null> {
  const token = given ?? (await readFile(file, "utf8").catch(() => "")).trim();
  if (token === "") return null;
  // It would end in an error of the HTTP client's, with the token in it.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    const place = given === null ? `The token in ${file}` : "HF_TOKEN";
    throw new ToastError("invalid_option", `${place} has characters that no token has. Copy it once more.`);
  }
  return token;
}

function isYes(value: string | null): boolean {
  return /^(1|on|yes|true)$/i.test(value ?? "");
}
