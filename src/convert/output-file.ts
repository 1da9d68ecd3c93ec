import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import { isDiskFull } from "../disk-full.js";
import { ToastError } from "../errors.js";
import type { ManifestFile } from "../model/manifest.js";

const zeros = new Uint8Array(65536);

/** A file written from front to back, hashed on the way. */
export class OutputFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #hash = createHash("sha256");
  #bytes = 0;

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  /**
   * Creates `path`, lets `write` fill it, and flushes it to the disk.
   * @returns what the manifest says of it.
   * @throws ToastError `disk_full`, `write_failed`, and whatever `write` throws.
   */
  static async create(path: string, write: (file: OutputFile) => Promise<void>): Promise<ManifestFile> {
    const handle = await open(path, "wx").catch((error: unknown) => Promise.reject(writeError(path, error)));
    const file = new OutputFile(path, handle);
    try {
      await write(file);
      await handle.sync().catch((error: unknown) => Promise.reject(writeError(path, error)));
    } finally {
      await handle.close();
    }
    return { name: basename(path), bytes: file.#bytes, sha256: file.#hash.digest("hex") };
  }

  /** Written so far. */
  get bytes(): number {
    return this.#bytes;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#handle
        .write(bytes, done, bytes.length - done)
        .catch((error: unknown) => Promise.reject(writeError(this.#path, error)));
      done += bytesWritten;
    }
    this.#bytes += bytes.length;
  }

  /** Fills with zeros up to `offset`, which must not lie behind what was written. */
  async padTo(offset: number): Promise<void> {
    if (offset < this.#bytes) throw new Error(`${this.#path} is already past byte ${offset}`);
    while (this.#bytes < offset) await this.append(zeros.subarray(0, offset - this.#bytes));
  }
}

/** The sentence for a failed write. */
export function writeError(path: string, error: unknown): ToastError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "unknown";
  if (isDiskFull(error)) {
    return new ToastError("disk_full", `The disk is full: ${path} could not be written. Nothing was left behind.`, {
      cause: error,
    });
  }
  return new ToastError("write_failed", `${path} could not be written (${code}).`, { cause: error });
}
