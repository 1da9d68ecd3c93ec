/** What a file's bytes are known by; also its name in the cache. */
export interface FileHash {
  /** `sha256`: of the bytes, for large files. `git-sha1`: of the bytes behind git's head of a blob, for all others. */
  readonly kind: "sha256" | "git-sha1";
  readonly hex: string;
}

export interface RepoFile {
  /** In the repository, with `/` between folders. */
  readonly path: string;
  readonly bytes: number;
  readonly hash: FileHash;
}

export type FileEntry = Pick<RepoFile, "path" | "bytes">;

export function isCommit(text: unknown): text is string {
  return typeof text === "string" && /^[0-9a-f]{40}$/.test(text);
}

/** Of a file in a repository: it goes into paths on this disk and into addresses. */
export function isSafePath(path: string): boolean {
  const parts = path.split("/");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not be there.
  return path.length <= 1024 && parts.every((part) => part !== "" && !/^\.+$|[\\:\x00-\x1f\x7f]/.test(part));
}
