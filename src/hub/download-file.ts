import { createHash, type Hash } from "node:crypto";
import { ToastError } from "../errors.js";
import type { HubConnection } from "./hub-connection.js";
import { networkFailure } from "./hub-failures.js";
import { PartialFile } from "./partial-file.js";
import type { FileHash, RepoFile } from "./repo-file.js";
import { Retries, type RetryPace, TransientFailure } from "./retry.js";

export interface DownloadOptions {
  readonly hub: HubConnection;
  /** For sentences. */
  readonly repo: string;
  readonly commit: string;
  readonly file: RepoFile;
  /** Where it is to be. */
  readonly blob: string;
  readonly pace: RetryPace;
  readonly signal?: AbortSignal | undefined;
  /** Bytes that came. */
  readonly onReceived: (bytes: number) => void;
  /** Bytes that need not come, or, negative, that have to come again. */
  readonly onSkipped: (bytes: number) => void;
  readonly onWait: (why: string) => void;
}

/**
 * Downloads one file into the cache, from where an earlier run stopped, and checks size and hash before it gets its
 * name.
 * @throws ToastError `file_hash_mismatch` when the hub sends other bytes twice, `disk_full`, `write_failed`, and as
 * `HubConnection.get`; AbortError. What came stays for the next run.
 */
export async function downloadFile(options: DownloadOptions): Promise<void> {
  const { repo, file, blob, pace, signal, onSkipped, onWait } = options;
  for (let damages = 0; ; ) {
    const onOther = () => onWait(`another process is downloading ${file.path}`);
    const partial = await PartialFile.claim(blob, { bytes: file.bytes, idleMs: pace.idleMs, signal, onOther });
    if (partial === null) {
      onSkipped(file.bytes);
      return;
    }
    let intact: boolean;
    try {
      onSkipped(partial.bytes);
      intact = (await fill(partial, options)) === file.hash.hex;
    } catch (error) {
      await partial.release();
      throw error;
    }
    const bytes = partial.bytes;
    if (intact) {
      if (await partial.finish()) return;
    } else {
      damages += 1;
      await partial.discard();
      if (damages === 2) throw damaged(repo, file, options.hub.settings.endpoint);
      onWait(`${file.path} came damaged and is fetched again`);
    }
    onSkipped(-bytes);
  }
}

/** @returns the hash of what has come, once that is `file.bytes` long; empty when more came. */
async function fill(partial: PartialFile, options: DownloadOptions): Promise<string> {
  const { hub, repo, commit, file, pace, signal, onReceived, onSkipped, onWait } = options;
  const path = file.path.split("/").map(encodeURIComponent).join("/");
  const url = `${hub.settings.endpoint}/${repo}/resolve/${commit}/${path}`;
  let hash = beginHash(file);
  const restart = async () => {
    onSkipped(-partial.bytes);
    await partial.reset();
    hash = beginHash(file);
  };
  if (partial.bytes > file.bytes) await restart();
  for await (const chunk of partial.read()) hash.update(chunk);

  const retries = new Retries(pace, signal, onWait);
  /** Of the version whose bytes are there, if the host says one that can be relied on. */
  let version: string | null = null;
  let isTooLong = false;
  await retries.run(async () => {
    if (partial.bytes === file.bytes && file.bytes > 0) return;
    const from = partial.bytes;
    const range = from === 0 ? {} : { range: `bytes=${from}-` };
    const ifRange = from === 0 || version === null ? {} : { "if-range": version };
    // Compressed on the way, parts and lengths would mean something else.
    const headers = { ...range, ...ifRange, "accept-encoding": "identity" };
    const response = await hub.get(url, { repo, revision: commit }, { headers, signal });
    if (from > 0 && !continuesAt(response, from)) {
      await restart();
      if (response.status !== 200) {
        await response.body?.cancel();
        const final = damaged(repo, file, hub.settings.endpoint);
        throw new TransientFailure(`${file.path} cannot be gone on with`, final);
      }
    }
    const etag = response.headers.get("etag");
    version = etag?.startsWith('"') === true ? etag : null;
    try {
      for await (const chunk of response.body ?? []) {
        signal?.throwIfAborted();
        isTooLong = partial.bytes + chunk.length > file.bytes;
        if (isTooLong) return;
        await partial.append(chunk);
        hash.update(chunk);
        onReceived(chunk.length);
        retries.reset();
      }
    } catch (error) {
      if (error instanceof ToastError) throw error;
      throw signal?.aborted === true ? signal.reason : networkFailure(response.url, error, hub.settings.endpoint);
    }
    if (partial.bytes < file.bytes) {
      throw networkFailure(response.url, new Error("it ended early"), hub.settings.endpoint);
    }
  });
  return isTooLong ? "" : hash.digest("hex");
}

/** Whether an answer is the rest that was asked for, of a file that has not changed. */
function continuesAt(response: { status: number; headers: { get(name: string): string | null } }, from: number) {
  return response.status === 206 && response.headers.get("content-range")?.startsWith(`bytes ${from}-`) === true;
}

/** git hashes a file behind a head that says its length. */
function beginHash({ hash, bytes }: { readonly hash: FileHash; readonly bytes: number }): Hash {
  return hash.kind === "sha256" ? createHash("sha256") : createHash("sha1").update(`blob ${bytes}\0`);
}

function damaged(repo: string, { path, hash, bytes }: RepoFile, endpoint: string): ToastError {
  const sentence = `${endpoint} sends other bytes for ${path} of ${repo} than it says: expected ${bytes} bytes of ${hash.kind} ${hash.hex}. Nothing of them is kept; try again, and without the proxy or mirror if there is one.`;
  return new ToastError("file_hash_mismatch", sentence);
}
