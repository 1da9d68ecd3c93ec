import { listFiles, modelInfo } from "@huggingface/hub";
import { ToastError } from "../errors.js";
import type { HubConnection } from "./hub-connection.js";
import type { HubName } from "./hub-name.js";
import { type FileHash, isCommit, isSafePath, type RepoFile } from "./repo-file.js";
import type { Retries } from "./retry.js";

/** A repository of more files is no model. */
const maxFiles = 100_000;

/**
 * The API's two questions that a download begins with. Retries, redirects, errors and the token are the connection's.
 */
export class HubApi {
  readonly #hub: HubConnection;
  readonly #retries: Retries;
  readonly #signal: AbortSignal | undefined;

  constructor(hub: HubConnection, retries: Retries, signal: AbortSignal | undefined) {
    this.#hub = hub;
    this.#retries = retries;
    this.#signal = signal;
  }

  /** The commit that a revision is now, 40 hexadecimal digits. @throws as `HubConnection.get` */
  async commitOf(name: HubName): Promise<string> {
    const { repo, revision } = name;
    const { sha } = await this.#orForeign(() =>
      modelInfo({ ...this.#common(name), name: repo, revision, additionalFields: ["sha"] }),
    );
    if (!isCommit(sha)) throw this.#foreign();
    return sha;
  }

  /** Every file of a commit, in folders too. @throws as `HubConnection.get` */
  async filesOf(name: HubName, commit: string): Promise<readonly RepoFile[]> {
    const { repo } = name;
    return this.#orForeign(async () => {
      const files: RepoFile[] = [];
      for await (const entry of listFiles({ ...this.#common(name), repo, revision: commit, recursive: true })) {
        if (files.length === maxFiles) throw this.#foreign();
        if (entry.type !== "file") continue;
        const { path, lfs } = entry;
        const hash: FileHash =
          lfs === undefined ? { kind: "git-sha1", hex: entry.oid ?? "" } : { kind: "sha256", hex: lfs.oid };
        const bytes = lfs?.size ?? entry.size;
        if (!isHash(hash) || !Number.isSafeInteger(bytes) || bytes < 0) throw this.#foreign();
        // A name that would lead out of the cache is passed over: no file that serving needs has one.
        if (isSafePath(path)) files.push({ path, bytes, hash });
      }
      return files;
    });
  }

  #common(target: HubName) {
    const get = (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
      const url = input instanceof Request ? input.url : String(input);
      const headers = { accept: new Headers(init?.headers).get("accept") ?? "application/json" };
      const response = this.#retries.run(() => this.#hub.get(url, target, { headers, signal: this.#signal }));
      // undici's Response is the one that node has, under a name of its own.
      return response as unknown as Promise<Response>;
    };
    return { hubUrl: this.#hub.settings.endpoint, fetch: get };
  }

  /** The package reads what it gets as JSON of the right shape; something else is no hub's. */
  async #orForeign<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      throw error instanceof SyntaxError || error instanceof TypeError ? this.#foreign(error) : error;
    }
  }

  #foreign(cause?: unknown): ToastError {
    const { endpoint } = this.#hub.settings;
    const sentence = `${endpoint} does not answer as a hub does. Check HF_ENDPOINT, and whether a proxy answers in its place.`;
    return new ToastError("hub_unreachable", sentence, { cause });
  }
}

/** It becomes the name of a file. */
function isHash({ kind, hex }: FileHash): boolean {
  return (kind === "sha256" ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(hex);
}
