import { rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { ToastError } from "../errors.js";
import { modelIdPattern } from "../model/manifest.js";
import { manifestFileName } from "../model/model-folder.js";
import { type Candidate, entriesOf, finishedIn, ServedFolder, signatureOf, uploadsFolder } from "./served-folder.js";

/** Adapters converted from trained files of the watched folder. */
const convertedFolder = ".converted";
const weightsEnding = ".safetensors";

/** Something in an adapters folder that may be an adapter. */
export type AdapterCandidate = Candidate & { readonly name: string } & (
    | { readonly kind: "converted" }
    /** X.safetensors, as training writes it. */
    | { readonly kind: "trained" }
    | { readonly kind: "uploaded"; readonly model: string }
  );

/** Where adapters lie that are served beside those of the model folders: converted folders, trained files, uploads. */
export class AdapterFiles extends ServedFolder {
  constructor(root: string) {
    super(root, "adapters folder");
  }

  /** What POST /v1/adapters brought. */
  uploadOf(model: string, name: string): string {
    return join(this.root, uploadsFolder, model, name);
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
