import type { Dirent } from "node:fs";
import { readdir, realpath, rm, stat } from "node:fs/promises";
import { basename, isAbsolute, join, relative, resolve, sep } from "node:path";
import { ToastError } from "../errors.js";
import { modelIdPattern } from "../model/manifest.js";
import { manifestFileName } from "../model/model-folder.js";

/** What POST /v1/adapters brought: `uploads/<model>/<name>/`, kept for the next start. */
const uploadsFolder = "uploads";
/** Adapters converted from trained files of the watched folder. */
const convertedFolder = ".converted";
const incomingPrefix = ".incoming-";
const weightsEnding = ".safetensors";
/** After so long nobody writes to what a process that was killed has left. */
const staleMs = 3_600_000;

/** Something in an adapters folder that may be an adapter. */
export type AdapterCandidate = {
  readonly path: string;
  readonly name: string;
  /** Names, sizes and times of its files: equal when nothing has changed. */
  readonly signature: string;
} & (
  | { readonly kind: "converted" }
  /** X.safetensors, as training writes it. */
  | { readonly kind: "trained" }
  | { readonly kind: "uploaded"; readonly model: string }
);

/**
 * Where adapters lie that are served beside those of the model folders: converted folders and trained files at its top
 * are watched, uploads have a folder of their own. Names that begin with a dot are work in progress.
 */
export class AdapterFiles {
  readonly root: string;
  #realRoot: string | null = null;

  constructor(root: string) {
    this.root = root;
  }

  uploadOf(model: string, name: string): string {
    return join(this.root, uploadsFolder, model, name);
  }

  /** A new place to build in, on the file system of `uploadOf`, that no listing shows. */
  incoming(id: string): string {
    return join(this.root, `${incomingPrefix}${id}`);
  }

  convertedOf(model: string, name: string, version: string): string {
    return join(this.root, convertedFolder, model, `${name}@${version}`);
  }

  /** Removes converted versions of a trained file but for the one to keep. */
  async pruneConverted(model: string, name: string, keep: string | null): Promise<void> {
    const folder = join(this.root, convertedFolder, model);
    for (const { name: entry } of await entriesOf(folder)) {
      const isVersion = entry.slice(0, entry.lastIndexOf("@")) === name;
      if (isVersion && join(folder, entry) !== keep) await rm(join(folder, entry), { recursive: true, force: true });
    }
  }

  /** Removes what a killed process has left half-written. */
  async sweep(now: number): Promise<void> {
    for (const { name } of await entriesOf(this.root)) {
      if (!name.startsWith(incomingPrefix)) continue;
      const path = join(this.root, name);
      const info = await stat(path).catch(() => null);
      if (info !== null && now - info.mtimeMs > staleMs) await rm(path, { recursive: true, force: true });
    }
  }

  /** What is there now, in the order of the names. A folder that cannot be read is empty. */
  async list(): Promise<readonly AdapterCandidate[]> {
    const found: AdapterCandidate[] = [];
    for (const entry of await finishedIn(this.root)) {
      const path = join(this.root, entry.name);
      if (entry.name.endsWith(weightsEnding)) {
        const name = basename(entry.name, weightsEnding);
        found.push({ kind: "trained", path, name, signature: await signatureOf([path, descriptionOf(path)]) });
      } else if (entry.name !== uploadsFolder && (await hasManifest(path))) {
        found.push({ kind: "converted", path, name: entry.name, signature: await signatureOfFolder(path) });
      }
    }
    for (const { name: model } of await finishedIn(join(this.root, uploadsFolder))) {
      for (const { name } of await finishedIn(join(this.root, uploadsFolder, model))) {
        const path = this.uploadOf(model, name);
        if (!(await hasManifest(path))) continue;
        found.push({ kind: "uploaded", path, name, model, signature: await signatureOfFolder(path) });
      }
    }
    return found;
  }

  /** A text with paths as they are inside the folder, without places where files lie for a moment only. */
  shown(text: string): string {
    const plain = this.#realRoot === null ? text : text.replaceAll(`${this.#realRoot}${sep}`, "");
    return plain.replaceAll(`${this.root}${sep}`, "").replaceAll(/\.incoming-[0-9a-f-]+[/\\](built[/\\])?/g, "");
  }

  /**
   * The real path of something inside the folder.
   * @param path absolute or from the folder on.
   * @throws ToastError `invalid_request` for what is not there and for what lies outside, by `..` or behind a link, in
   *   the same words: a client learns nothing of other files.
   */
  async inside(path: string): Promise<string> {
    const refused = new ToastError(
      "invalid_request",
      `'path' must name something inside this server's adapters folder; '${path.slice(0, 200)}' does not.`,
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

/** @throws ToastError `invalid_request` */
export function checkAdapterName(name: string): void {
  if (modelIdPattern.test(name) && !name.includes(".partial-")) return;
  throw new ToastError(
    "invalid_request",
    `The adapter name '${name.slice(0, 100)}' cannot be served: use letters, digits, '.', '_' and '-', 96 at most, a letter or digit first.`,
    { param: "name" },
  );
}

/** X.json of X.safetensors. */
export function descriptionOf(weightsFile: string): string {
  return weightsFile.replace(/\.safetensors$/, ".json");
}

async function hasManifest(folder: string): Promise<boolean> {
  return stat(join(folder, manifestFileName)).then(
    (info) => info.isFile(),
    () => false,
  );
}

async function signatureOfFolder(folder: string): Promise<string> {
  const names = (await entriesOf(folder)).map(({ name }) => join(folder, name));
  return signatureOf(names);
}

async function signatureOf(files: readonly string[]): Promise<string> {
  const parts = files.map(async (file) => {
    const info = await stat(file).catch(() => null);
    return info === null ? "gone" : `${basename(file)} ${info.size} ${info.mtimeMs} ${info.ino}`;
  });
  return (await Promise.all(parts)).join("\n");
}

/** Without those that are in the making. */
async function finishedIn(folder: string): Promise<readonly Dirent[]> {
  const entries = await entriesOf(folder);
  return entries.filter(({ name }) => !name.startsWith(".") && !name.includes(".partial-"));
}

/** In the order of their names; none of a folder that cannot be read. */
async function entriesOf(folder: string): Promise<readonly Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
