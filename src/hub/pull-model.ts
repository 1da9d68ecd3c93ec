import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { readSourceFolder } from "../convert/source-folder.js";
import { ToastError } from "../errors.js";
import { findCached, type PulledModel } from "./cached-model.js";
import { chooseFiles, weightsOfIndex } from "./choose-files.js";
import { checkRoom } from "./disk.js";
import { downloadFile } from "./download-file.js";
import { HubApi } from "./hub-api.js";
import { HubConnection, isUnreachable } from "./hub-connection.js";
import type { HubName } from "./hub-name.js";
import type { HubSettings } from "./hub-settings.js";
import { bytesHere } from "./partial-file.js";
import { RepoCache } from "./repo-cache.js";
import type { RepoFile } from "./repo-file.js";
import { defaultRetryPace, Retries, type RetryPace } from "./retry.js";
import { Transfer, type TransferState } from "./transfer.js";

export interface PullOptions {
  readonly name: HubName;
  readonly settings: HubSettings;
  /** Of this package. */
  readonly version: string;
  /** What is being done, in words, and how far it is; null: that is not known yet. */
  readonly onProgress?: ((stage: string, state: TransferState | null) => void) | undefined;
  /** Something that should be known and ends nothing. */
  readonly onNote?: ((sentence: string) => void) | undefined;
  /** Stops it; what came so far waits for the next run. */
  readonly signal?: AbortSignal | undefined;
  readonly pace?: RetryPace | undefined;
}

/** Files at the same time; one connection alone rarely fills a line. */
const concurrency = 4;

/**
 * Downloads what serving a model needs, or finds that it is here. Where the hub cannot be asked, what was downloaded
 * earlier is gone by, with a note.
 * @throws ToastError `repository_not_found`, `repository_denied`, `repository_unsuitable`, `hub_unreachable`,
 * `file_hash_mismatch`, `disk_full`, `write_failed`, and as `readSourceFolder` for a model that cannot be converted,
 * before its weights are fetched; AbortError.
 */
export async function pullModel(options: PullOptions): Promise<PulledModel> {
  const { name, settings, onNote } = options;
  if (settings.offlineBecause !== null) {
    const cached = await findCached(name, settings.cacheDir);
    if (cached.kind === "found") return cached.model;
    const sentence = `${cached.missing} ${settings.offlineBecause} is set, so nothing is asked of the hub: unset it, or download the model where there is a network and bring that folder here.`;
    throw new ToastError("hub_unreachable", sentence);
  }
  const hub = new HubConnection(settings, options.version);
  try {
    const listing = await listFromHub(hub, options).catch(async (error: unknown) => {
      const cached = isUnreachable(error) ? await findCached(name, settings.cacheDir) : null;
      if (cached?.kind !== "found" || !(error instanceof ToastError)) throw error;
      onNote?.(`${error.message} What was downloaded earlier is used: commit ${cached.model.commit.slice(0, 12)}.`);
      return cached.model;
    });
    return "files" in listing ? await download(hub, listing, options) : listing;
  } finally {
    await hub.close();
  }
}

interface Listing {
  readonly commit: string;
  readonly files: readonly RepoFile[];
}

async function listFromHub(hub: HubConnection, options: PullOptions): Promise<Listing> {
  const { name, settings, signal, pace = defaultRetryPace, onProgress } = options;
  onProgress?.(`asking ${new URL(settings.endpoint).host}`, null);
  const api = new HubApi(hub, new Retries(pace, signal, (why) => onProgress?.(why, null)), signal);
  const commit = await api.commitOf(name);
  return { commit, files: await api.filesOf(name, commit) };
}

async function download(hub: HubConnection, { commit, files }: Listing, options: PullOptions): Promise<PulledModel> {
  const { name, settings, signal, pace = defaultRetryPace, onProgress } = options;
  const { repo, revision } = name;
  const cache = new RepoCache(settings.cacheDir, repo);
  const choice = chooseFiles(repo, files, name.file);

  const context = { hub, cache, commit, repo, signal, pace };
  const small = [...choice.descriptions, ...(choice.kind === "safetensors" && choice.index ? [choice.index] : [])];
  await fetchFiles(small, new Transfer(sizeOf(small)), {
    ...context,
    onProgress: (why) => onProgress?.(why ?? `reading what ${repo} is`, null),
  });
  let { weights } = choice;
  if (choice.kind === "safetensors") {
    // What cannot be converted is said now, not after an hour.
    await readSourceFolder(cache.snapshotOf(commit));
    if (choice.index !== null) {
      const index = await readFile(join(cache.snapshotOf(commit), choice.index.path), "utf8");
      weights = weightsOfIndex(repo, index, files);
    }
  }
  const all = [...small, ...weights];
  const transfer = new Transfer(sizeOf(all));
  transfer.skip(sizeOf(small));
  await checkRoom(cache.folder, await bytesToCome(cache, weights));
  await fetchFiles(weights, transfer, {
    ...context,
    onProgress: (why) => onProgress?.(why ?? `downloading ${repo}`, transfer.state),
  });
  // Only now: until all of a new commit is here, the revision stays what it was.
  await cache.keepCommit(revision, commit);

  const gguf = choice.kind === "gguf" ? (weights[0]?.path ?? null) : null;
  const snapshot = cache.snapshotOf(commit);
  return { name, commit, source: gguf === null ? snapshot : join(snapshot, gguf), gguf, bytes: transfer.total };
}

interface FetchContext {
  readonly hub: HubConnection;
  readonly cache: RepoCache;
  readonly repo: string;
  readonly commit: string;
  readonly signal: AbortSignal | undefined;
  readonly pace: RetryPace;
  /** @param why it does not go on at the moment, if it does not. */
  readonly onProgress: (why?: string) => void;
}

/** A few at a time; the first that fails stops the others. */
async function fetchFiles(files: readonly RepoFile[], transfer: Transfer, context: FetchContext): Promise<void> {
  const { cache, commit, onProgress, signal: stop, ...common } = context;
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, ...(stop === undefined ? [] : [stop])]);
  const here = new Map((await cache.filesOf(commit)).map((file) => [file.path, file.bytes]));
  const queue = [...files];
  const fetchNext = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const { path, bytes, hash } = file;
      if (here.get(path) === bytes) {
        transfer.skip(bytes);
        continue;
      }
      await downloadFile({
        ...common,
        ...{ commit, file, signal },
        blob: cache.blobOf(hash),
        onReceived(count) {
          transfer.receive(count);
          onProgress();
        },
        onSkipped(count) {
          transfer.skip(count);
          onProgress();
        },
        onWait: onProgress,
      });
      await cache.link(commit, path, hash);
    }
  };
  const lanes = Array.from({ length: concurrency }, () =>
    fetchNext().catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  const outcomes = await Promise.allSettled(lanes);
  stop?.throwIfAborted();
  if (outcomes.some(({ status }) => status === "rejected")) throw failed.signal.reason;
}

async function bytesToCome(cache: RepoCache, files: readonly RepoFile[]): Promise<number> {
  const left = await Promise.all(files.map(async ({ hash, bytes }) => bytes - (await bytesHere(cache.blobOf(hash)))));
  return left.reduce((sum, bytes) => sum + Math.max(0, bytes), 0);
}

function sizeOf(files: readonly RepoFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
