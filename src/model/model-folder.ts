import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { ToastError } from "../errors.js";
import {
  type AdapterManifest,
  adapterManifestSchema,
  type BackboneManifest,
  backboneManifestSchema,
  type ManifestFile,
} from "./manifest.js";

/** A checked model folder: every file is there and is the one that its manifest names. */
export interface ModelFolder {
  readonly path: string;
  readonly manifest: BackboneManifest;
  readonly adapters: readonly AdapterFolder[];
}

export interface AdapterFolder {
  readonly path: string;
  readonly manifest: AdapterManifest;
}

export const manifestFileName = "manifest.json";
export const adaptersFolderName = "adapters";

/** Hears of an adapter of a model folder that cannot be used: it is left out. */
export type OnDamaged = (name: string, error: ToastError) => void;

const refuse: OnDamaged = (_, error) => {
  throw error;
};

/**
 * Reads the manifests of a folder and of its adapters, without hashing the files.
 * @param onDamaged default: whatever is wrong with an adapter is wrong with the folder.
 * @throws ToastError `file_missing`, `invalid_manifest`, `adapter_mismatch`
 */
export async function readModelFolder(path: string, onDamaged: OnDamaged = refuse): Promise<ModelFolder> {
  const manifest = await readBackboneManifest(path);
  const adapters: AdapterFolder[] = [];
  for (const name of await listFolders(join(path, adaptersFolderName))) {
    try {
      adapters.push(await readNamedAdapter(join(path, adaptersFolderName, name), name, manifest));
    } catch (error) {
      onDamaged(name, ToastError.from(error));
    }
  }
  return { path, manifest, adapters };
}

async function readNamedAdapter(path: string, name: string, backbone: BackboneManifest): Promise<AdapterFolder> {
  const adapter = await readAdapterFolder(path, backbone);
  if (adapter.manifest.name === name) return adapter;
  throw new ToastError("invalid_manifest", `the adapter in folder ${name} calls itself ${adapter.manifest.name}`);
}

/** The manifest of a model folder alone. @throws ToastError `file_missing`, `invalid_manifest` */
export function readBackboneManifest(path: string): Promise<BackboneManifest> {
  return readManifest(join(path, manifestFileName), backboneManifestSchema);
}

/** The manifest of an adapter folder alone. @throws ToastError `file_missing`, `invalid_manifest` */
export function readAdapterManifest(path: string): Promise<AdapterManifest> {
  return readManifest(join(path, manifestFileName), adapterManifestSchema);
}

/**
 * An adapter's folder, wherever it lies, checked against the backbone that it is to steer; its files are not hashed.
 * @throws ToastError `file_missing`, `invalid_manifest`, `adapter_mismatch`
 */
export async function readAdapterFolder(path: string, backbone: BackboneManifest): Promise<AdapterFolder> {
  const manifest = await readAdapterManifest(path);
  checkAdapter(manifest, backbone);
  return { path, manifest };
}

/** Hashes every file that the adapter's manifest names. @throws ToastError `file_missing`, `file_hash_mismatch` */
export async function verifyAdapterFolder({ path, manifest }: AdapterFolder): Promise<void> {
  for (const file of Object.values(manifest.files)) await verifyFile(path, file, () => {});
}

/**
 * Hashes every file that the manifests name.
 * @param onProgress called with the bytes hashed so far and in all.
 * @throws ToastError `file_missing`, `file_hash_mismatch`
 */
export async function verifyModelFolder(
  folder: ModelFolder,
  onProgress: (doneBytes: number, totalBytes: number) => void,
): Promise<void> {
  const files = [
    ...Object.values(folder.manifest.files)
      .flat()
      .flatMap((file) => (file === undefined ? [] : [{ folder: folder.path, file }])),
    ...folder.adapters.flatMap((adapter) =>
      Object.values(adapter.manifest.files).map((file) => ({ folder: adapter.path, file })),
    ),
  ];
  const total = files.reduce((sum, { file }) => sum + file.bytes, 0);
  let done = 0;
  for (const { folder: parent, file } of files) {
    await verifyFile(parent, file, (bytes) => {
      done += bytes;
      onProgress(done, total);
    });
  }
}

async function verifyFile(folder: string, file: ManifestFile, onBytes: (bytes: number) => void): Promise<void> {
  const path = join(folder, file.name);
  const info = await stat(path).catch(() => null);
  if (info === null || !info.isFile()) {
    throw new ToastError("file_missing", `${path} is named by its manifest but is not there. Convert the model again.`);
  }
  if (info.size !== file.bytes) {
    throw new ToastError(
      "file_hash_mismatch",
      `${path} has ${info.size} bytes, its manifest says ${file.bytes}: the file is incomplete or was changed. Copy or convert it again.`,
    );
  }
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    const bytes = chunk as Buffer;
    hash.update(bytes);
    onBytes(bytes.length);
  }
  if (hash.digest("hex") !== file.sha256) {
    throw new ToastError(
      "file_hash_mismatch",
      `${path} does not have the sha256 that its manifest names: the file was changed or damaged. Copy or convert it again.`,
    );
  }
}

function checkAdapter(adapter: AdapterManifest, backbone: BackboneManifest): void {
  if (adapter.backboneSha256 !== backbone.backboneSha256) {
    throw new ToastError(
      "adapter_mismatch",
      `Adapter ${adapter.name} was made for backbone ${adapter.backboneSha256.slice(0, 12)}, this one is ${backbone.backboneSha256.slice(0, 12)}: an adapter works only with the weights it was trained on.`,
    );
  }
  const { layers, hiddenSize, kvHeads, headDim } = backbone.architecture;
  const { shape } = adapter;
  if (shape.layers !== layers || shape.hiddenSize !== hiddenSize || shape.kvSize !== kvHeads * headDim) {
    throw new ToastError("adapter_mismatch", `Adapter ${adapter.name} does not have its backbone's shape.`);
  }
}

async function readManifest<T extends z.ZodType>(path: string, schema: T): Promise<z.infer<T>> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new ToastError(
      "file_missing",
      `${path} cannot be read. A model folder is made by \`toast-serve convert <model> --out <folder>\`.`,
      { cause },
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ToastError("invalid_manifest", `${path} is not JSON: ${String(cause)}`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new ToastError(
      "invalid_manifest",
      `${path}: ${issue?.path.join(".") || "the manifest"}: ${issue?.message ?? "is not valid"}. It may come from another version of toast-serve: convert the model again.`,
    );
  }
  return parsed.data;
}

async function listFolders(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.includes(".partial-"))
    .map((entry) => entry.name)
    .sort();
}
