import { randomBytes } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { codeOf, orCacheWriteError } from "./disk.js";
import { type FileEntry, type FileHash, isCommit } from "./repo-file.js";

/**
 * One repository in the hub's own cache, as Python's huggingface_hub lays it out and finds it:
 *
 *     models--org--name/refs/main                     the commit
 *     models--org--name/blobs/<hash>                  the bytes
 *     models--org--name/snapshots/<commit>/<path>     a link to them
 *
 * @see https://huggingface.co/docs/huggingface_hub/guides/manage-cache
 */
export class RepoCache {
  readonly folder: string;

  /** @param repo `org/name` */
  constructor(cacheDir: string, repo: string) {
    this.folder = join(cacheDir, ["models", ...repo.split("/")].join("--"));
  }

  blobOf(hash: FileHash): string {
    return join(this.folder, "blobs", hash.hex);
  }

  snapshotOf(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  /** What a revision was when it was last downloaded; a commit is itself. Null: it never was. */
  async commitOf(revision: string): Promise<string | null> {
    if (isCommit(revision)) return revision;
    const text = (await readFile(join(this.folder, "refs", revision), "utf8").catch(() => "")).trim();
    return isCommit(text) ? text : null;
  }

  /** @throws ToastError `disk_full`, `write_failed`, as every method that writes. */
  async keepCommit(revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.commitOf(revision)) === commit) return;
    const path = join(this.folder, "refs", revision);
    await makeParent(path);
    // Readers never see half of it.
    const unfinished = unique(path);
    await orCacheWriteError(path, writeFile(unfinished, commit));
    await orCacheWriteError(path, rename(unfinished, path));
  }

  /** The files of a commit that are here whole; the bytes of broken links are gone. */
  async filesOf(commit: string): Promise<readonly FileEntry[]> {
    const snapshot = this.snapshotOf(commit);
    const entries = await readdir(snapshot, { recursive: true, withFileTypes: true }).catch(() => []);
    const files: FileEntry[] = [];
    for (const entry of entries) {
      const path = join(entry.parentPath, entry.name);
      const info = await stat(path).catch(() => null);
      if (info?.isFile() === true) {
        files.push({ path: relative(snapshot, path).split(sep).join("/"), bytes: info.size });
      }
    }
    return files;
  }

  /** Puts a blob under its name in a commit; what was there before goes. */
  async link(commit: string, path: string, hash: FileHash): Promise<void> {
    const place = join(this.snapshotOf(commit), ...path.split("/"));
    const blob = this.blobOf(hash);
    await makeParent(place);
    const unfinished = unique(place);
    try {
      // Relative, so that the cache can be moved.
      await symlink(relative(dirname(place), blob), unfinished);
    } catch (error) {
      if (!["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"].includes(codeOf(error) ?? "")) {
        await orCacheWriteError(place, Promise.reject(error));
      }
      // Windows without the right to make links, some network disks.
      await orCacheWriteError(place, copyFile(blob, unfinished));
    }
    try {
      await orCacheWriteError(place, rename(unfinished, place));
    } finally {
      await rm(unfinished, { force: true });
    }
  }
}

async function makeParent(path: string): Promise<void> {
  await orCacheWriteError(path, mkdir(dirname(path), { recursive: true }));
}

function unique(path: string): string {
  return `${path}.${randomBytes(4).toString("hex")}.tmp`;
}
