import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isAdapterGraphOf } from "../convert/adapter-graph.js";
import type { ConversionJob } from "../convert/convert-in-thread.js";
import { isDiskFull } from "../disk-full.js";
import { ToastError } from "../errors.js";
import type { BackboneManifest } from "../model/manifest.js";
import { manifestFileName, readAdapterFolder } from "../model/model-folder.js";
import { descriptionOf } from "./adapter-files.js";

/** The files of an adapter, wherever they come from. */
export type AdapterArrivalFiles =
  /** X.safetensors with X.json beside it. */
  | { readonly kind: "trained"; readonly weights: string; readonly name: string }
  /** A folder that `toast-serve convert` has made; `origin` decides how far its graph is trusted. */
  | { readonly kind: "converted"; readonly folder: string; readonly origin: "client" | "server" };

/** What an adapter is built for. */
export interface BuildTarget {
  /** The model's. */
  readonly folder: string;
  readonly backbone: BackboneManifest;
  readonly name: string;
  /** A folder to make. */
  readonly out: string;
}

/** Makes folders that an engine loads of the files of adapters. */
export class AdapterBuilder {
  readonly #convert: (job: ConversionJob, signal: AbortSignal) => Promise<unknown>;
  readonly #stop: AbortSignal;
  #last: Promise<unknown> = Promise.resolve();

  /** @param stop ends what is being converted, and refuses what waits. */
  constructor(convert: (job: ConversionJob, signal: AbortSignal) => Promise<unknown>, stop: AbortSignal) {
    this.#convert = convert;
    this.#stop = stop;
  }

  /** Once nothing is converted any more. */
  get idle(): Promise<unknown> {
    return this.#last;
  }

  /**
   * @param sha256 of the file with the weights, lower-case hex; null: not said.
   * @throws ToastError with what is wrong with the files
   */
  async build(files: AdapterArrivalFiles, sha256: string | null, target: BuildTarget): Promise<void> {
    const { folder, backbone, name, out } = target;
    if (files.kind === "trained") {
      if (sha256 !== null) checkHash(await hashOf(files.weights), sha256);
      await mkdir(dirname(out), { recursive: true });
      await this.convert({ model: folder, file: files.weights, name, out });
      return;
    }
    const { manifest } = await readAdapterFolder(files.folder, backbone);
    if (sha256 !== null) checkHash(manifest.files.weights.sha256, sha256);
    await mkdir(out, { recursive: true });
    for (const file of [manifestFileName, manifest.files.graph.name, manifest.files.weights.name]) {
      await copyFile(join(files.folder, file), join(out, file)).catch((cause: unknown) => {
        if (isDiskFull(cause)) throw cause;
        throw new ToastError("file_missing", `${file} is named by ${manifestFileName} but is not there.`, { cause });
      });
    }
    if (files.origin === "server") return;
    // A graph can name files to read; one from outside has to be the one that our converter writes.
    if (isAdapterGraphOf(manifest, await readFile(join(out, manifest.files.graph.name)))) return;
    throw new ToastError(
      "invalid_adapter",
      `${manifest.files.graph.name} is not the graph that this version of toast-serve makes. Convert the adapter again, or send its .safetensors file.`,
    );
  }

  /** Conversions take turns: each uses all cores and holds whole matrices. @throws ToastError `server_draining` */
  convert(job: ConversionJob): Promise<unknown> {
    const conversion = this.#last
      .catch(() => {})
      .then(() => {
        if (this.#stop.aborted) throw new ToastError("server_draining", "The server is shutting down.");
        return this.#convert(job, this.#stop);
      });
    this.#last = conversion;
    return conversion;
  }
}

/**
 * What conversion makes of a trained adapter, and so what the result is found again by.
 * @returns lower-case hex
 * @throws ToastError `file_missing`
 */
export async function fingerprintOf(weights: string, quantization: string): Promise<string> {
  const hash = createHash("sha256").update(quantization);
  for (const file of [weights, descriptionOf(weights)]) hash.update(await hashOf(file));
  return hash.digest("hex").slice(0, 16);
}

/** sha256 of a file, lower-case hex. @throws ToastError `file_missing` */
async function hashOf(file: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  } catch (cause) {
    throw new ToastError("file_missing", `${file} is missing or cannot be read.`, { cause });
  }
  return hash.digest("hex");
}

function checkHash(found: string, said: string): void {
  if (found === said) return;
  throw new ToastError(
    "file_hash_mismatch",
    `The weights have the sha256 ${found}, not ${said}: they were damaged on their way, or are others. Nothing was kept.`,
    { param: "sha256" },
  );
}
