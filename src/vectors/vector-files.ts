import { basename, join } from "node:path";
import { type Candidate, finishedIn, ServedFolder, signatureOf, uploadsFolder } from "../adapters/served-folder.js";

/** Of a model folder: the vectors that come with it. */
const ownFolder = "vectors";
const ending = ".gguf";

/** A file that may be a control vector. */
export type VectorCandidate = Candidate & { readonly name: string } & (
    | { readonly origin: "watched_folder" }
    /** Of one model: it came with it, or was sent or made for it. */
    | { readonly origin: "model_folder" | "upload"; readonly model: string }
  );

/** Where vectors lie that are served beside those of the model folders: files at the top, and what was sent or made. */
export class VectorFiles extends ServedFolder {
  constructor(root: string) {
    super(root, "vectors folder");
  }

  /** What POST /v1/vectors brought or made. */
  uploadOf(model: string, name: string): string {
    return join(this.root, uploadsFolder, model, `${name}${ending}`);
  }

  /** What is there now, in the order of the names. A folder that cannot be read is empty. */
  async list(): Promise<readonly VectorCandidate[]> {
    const found: VectorCandidate[] = [];
    for (const file of await vectorsIn(this.root)) found.push({ ...file, origin: "watched_folder" });
    for (const { name: model } of await finishedIn(join(this.root, uploadsFolder))) {
      for (const file of await vectorsIn(join(this.root, uploadsFolder, model))) {
        found.push({ ...file, origin: "upload", model });
      }
    }
    return found;
  }
}

/** The vectors that a model folder brings. */
export async function vectorsOfModel(folder: string, model: string): Promise<readonly VectorCandidate[]> {
  const files = await vectorsIn(join(folder, ownFolder));
  return files.map((file) => ({ ...file, origin: "model_folder", model }));
}

async function vectorsIn(folder: string): Promise<readonly (Candidate & { readonly name: string })[]> {
  const files = (await finishedIn(folder)).filter(({ name }) => name.endsWith(ending));
  return Promise.all(
    files.map(async ({ name }) => {
      const path = join(folder, name);
      return { path, name: basename(name, ending), signature: await signatureOf([path]) };
    }),
  );
}
