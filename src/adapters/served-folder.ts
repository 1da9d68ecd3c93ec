import type { Dirent } from "node:fs";
import { readdir, realpath, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, isAbsolute, join, relative, resolve, sep } from "node:path";
import { ToastError } from "../errors.js";

/** What clients sent: `uploads/<model>/`, kept for the next start. */
export const uploadsFolder = "uploads";
const incomingPrefix = ".incoming-";
/** After so long nobody writes to what a process of another machine that was killed has left. */
const staleMs = 3_600_000;
/** Tells this process from another one of its number, before or after it. */
const startedAt = Math.floor(performance.timeOrigin);
const machine = hostname().replaceAll(/[^A-Za-z0-9.-]/g, "_");

/** Something in a folder that may be served. */
export interface Candidate {
  readonly path: string;
  /** Names, sizes and times of its files: equal when nothing has changed. */
  readonly signature: string;
}

/**
 * A folder whose content is served: what lies at its top is watched, uploads have a folder of their own. Names that
 * begin
 * with a dot are work in progress.
 */
export class ServedFolder {
  readonly root: string;
  readonly #what: string;
  #realRoot: string | null = null;

  /** @param what its name in a sentence: `adapters folder`. */
  constructor(root: string, what: string) {
    this.root = root;
    this.#what = what;
  }

  /** A new place to build in, on the file system of the uploads, that no listing shows. */
  incoming(id: string): string {
    return join(this.root, `${incomingPrefix}${machine}~${process.pid}~${startedAt}~${id}`);
  }

  /**
   * Removes what a killed process has left half-written: of this machine, a container being one, at once; of others
   * that share the folder, when nobody has written to it for an hour.
   */
  async sweep(now: number): Promise<void> {
    for (const { name } of await entriesOf(this.root)) {
      if (!name.startsWith(incomingPrefix)) continue;
      const path = join(this.root, name);
      const info = await stat(path).catch(() => null);
      if (info === null) continue;
      const isLeft = ownerOf(name) === "gone" || now - info.mtimeMs > staleMs;
      if (isLeft) await rm(path, { recursive: true, force: true });
    }
  }

  /** A text with paths as they are inside the folder, without places where files lie for a moment only. */
  shown(text: string): string {
    const plain = this.#realRoot === null ? text : text.replaceAll(`${this.#realRoot}${sep}`, "");
    return plain.replaceAll(`${this.root}${sep}`, "").replaceAll(/\.incoming-[^/\\]+[/\\](built[/\\])?/g, "");
  }

  /**
   * The real path of something inside the folder.
   * @param path absolute or from the folder on.
   * @throws ToastError `invalid_request` for what is not there and for what lies outside, by `..` or behind a link,
   *   in the same words:
   * a client learns nothing of other files.
   */
  async inside(path: string): Promise<string> {
    const refused = new ToastError(
      "invalid_request",
      `'path' must name something inside this server's ${this.#what}; '${path.slice(0, 200)}' does not.`,
      { param: "path" },
    );
    if (path.includes("\0")) throw refused;
    const root = await realpath(this.root).catch(() => null);
    this.#realRoot = root;
    const real = await realpath(resolve(this.root, path)).catch(() => null);
    if (root === null || real === null) throw refused;
    const way = relative(root, real);
    if (way === "" || way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way)) {
      throw refused;
    }
    return real;
  }
}

/** Whether the process that made a place for files can still be at work there. */
function ownerOf(name: string): "alive" | "gone" | "elsewhere" {
  const [host = "", pid = "", started = ""] = name.slice(incomingPrefix.length).split("~");
  if (host !== machine || !/^[1-9]\d*$/.test(pid)) return "elsewhere";
  if (Number(pid) === process.pid) return started === String(startedAt) ? "alive" : "gone";
  try {
    process.kill(Number(pid), 0);
    return "alive";
  } catch (cause) {
    // EPERM: another user's process has that number.
    return cause instanceof Error && "code" in cause && cause.code === "ESRCH" ? "gone" : "alive";
  }
}

export async function signatureOf(files: readonly string[]): Promise<string> {
  const parts = files.map(async (file) => {
    const info = await stat(file).catch(() => null);
    return info === null ? "gone" : `${basename(file)} ${info.size} ${info.mtimeMs} ${info.ino}`;
  });
  return (await Promise.all(parts)).join("\n");
}

/** Without those that are in the making. */
export async function finishedIn(folder: string): Promise<readonly Dirent[]> {
  const entries = await entriesOf(folder);
  return entries.filter(({ name }) => !name.startsWith(".") && !name.includes(".partial-"));
}

/** In the order of their names; none of a folder that cannot be read. */
export async function entriesOf(folder: string): Promise<readonly Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
