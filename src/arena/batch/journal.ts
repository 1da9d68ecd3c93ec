import { type FileHandle, open, truncate } from "node:fs/promises";
import { ToastError } from "../../errors.js";

/**
 * A file of JSON lines that are on the disk once `append` resolves: written, then synced (`fdatasync`). Lines that
 * arrive during a sync share the next one, so many writers cost few syncs.
 */
export class Journal {
  readonly #file: FileHandle;
  readonly #path: string;
  /** Bytes that are on the disk, whole lines all. */
  #bytes: number;
  #waiting: { readonly line: string; readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = [];
  #writing: Promise<void> | null = null;

  private constructor(file: FileHandle, path: string, bytes: number) {
    this.#file = file;
    this.#path = path;
    this.#bytes = bytes;
  }

  /**
   * @param onEntry called with each entry that is there, in order.
   * @throws ToastError `store_failed` when a line before the last is not JSON. A broken last line is cut off: its
   *   writer was never told that it was written.
   */
  static async open(path: string, onEntry: (entry: unknown) => void): Promise<Journal> {
    const file = await open(path, "a+");
    try {
      return new Journal(file, path, await read(file, path, onEntry));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  append(entry: object): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line: `${JSON.stringify(entry)}\n`, resolve, reject });
      this.#writing ??= this.#write();
    });
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file.close();
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const text = batch.map(({ line }) => line).join("");
      try {
        await this.#file.appendFile(text);
        await this.#file.datasync();
        this.#bytes += Buffer.byteLength(text);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        // A full disk takes half a line, to which the next would be glued.
        await truncate(this.#path, this.#bytes).catch(() => {});
        for (const { reject } of batch) reject(error);
      }
    }
    this.#writing = null;
  }
}

/** @returns how many bytes are whole lines; what is behind them is cut off. */
async function read(file: FileHandle, path: string, onEntry: (entry: unknown) => void): Promise<number> {
  // Bytes up to which every line is whole.
  let whole = 0;
  let number = 0;
  let broken: number | null = null;
  let rest = Buffer.alloc(0);
  const buffer = Buffer.alloc(2 ** 20);
  for (let position = 0; ; ) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      number++;
      if (broken !== null) throw unreadable(path, broken);
      const entry = parse(rest.subarray(0, end).toString("utf8"));
      if (entry === undefined) {
        broken = number;
      } else {
        onEntry(entry);
        whole += end + 1;
      }
      rest = rest.subarray(end + 1);
    }
  }
  if (broken !== null || rest.length > 0) {
    await truncate(path, whole);
  }
  return whole;
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function unreadable(path: string, line: number): ToastError {
  return new ToastError(
    "store_failed",
    `Line ${line} of ${path} is damaged, and more lines follow it. Put the file right, or move it away to begin anew.`,
  );
}
