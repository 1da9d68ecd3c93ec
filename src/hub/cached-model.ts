import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ToastError } from "../errors.js";
import { chooseFiles, weightsOfIndex } from "./choose-files.js";
import type { HubName } from "./hub-name.js";
import { RepoCache } from "./repo-cache.js";

/** A model in the hub's cache, with all that serving needs. */
export interface PulledModel {
  readonly name: HubName;
  readonly commit: string;
  /** What `convert` reads: the folder of the commit, or the first part of the GGUF file in it. */
  readonly source: string;
  /** Path of the GGUF file in the repository, or null. */
  readonly gguf: string | null;
  /** Of all files. */
  readonly bytes: number;
}

export type CachedModel =
  | { readonly kind: "found"; readonly model: PulledModel }
  /** What is not there, in a sentence. */
  | { readonly kind: "missing"; readonly missing: string };

/** What the cache has of a model, by whomever it was downloaded; the hub is not asked. */
export async function findCached(name: HubName, cacheDir: string): Promise<CachedModel> {
  const { repo, revision, file } = name;
  const cache = new RepoCache(cacheDir, repo);
  const commit = await cache.commitOf(revision);
  const files = commit === null ? [] : await cache.filesOf(commit);
  if (commit === null || files.length === 0) {
    return { kind: "missing", missing: `Nothing of ${repo} at revision '${revision}' is in ${cacheDir}.` };
  }
  const snapshot = cache.snapshotOf(commit);
  try {
    const choice = chooseFiles(repo, files, file);
    const weights =
      choice.kind === "safetensors" && choice.index !== null
        ? weightsOfIndex(repo, await readFile(join(snapshot, choice.index.path), "utf8"), files)
        : choice.weights;
    const gguf = choice.kind === "gguf" ? (weights[0]?.path ?? null) : null;
    const bytes = [...choice.descriptions, ...weights].reduce((sum, each) => sum + each.bytes, 0);
    const source = gguf === null ? snapshot : join(snapshot, gguf);
    return { kind: "found", model: { name, commit, source, gguf, bytes } };
  } catch (error) {
    if (!(error instanceof ToastError)) throw error;
    return { kind: "missing", missing: `${snapshot} has not all of the model. ${error.message}` };
  }
}
