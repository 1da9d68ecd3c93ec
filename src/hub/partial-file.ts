import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf, orCacheWriteError } from "./disk.js";

export interface ClaimOptions {
  /** Of the whole blob. One of another size is damaged, and goes. */
  readonly bytes: number;
  /** One that nobody has touched for so long is nobody's. */
  readonly idleMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Another process is downloading this file; it is waited for. */
  readonly onOther?: () => void;
}

/**
 * A blob on its way. While somebody writes it, it has a name of his own, `<blob>.<8 digits>.incomplete`, as
 * huggingface_hub has it; when he stops half-way it becomes `<blob>.incomplete`, which the next one takes by renaming
 * it, and only one can. What a process left that was killed is taken when it has lain still for a while; a living one
 * touches its file every few seconds.
 *
 * No lock is needed: names are those of the content, so all who write one file write the same bytes to the same places,
 * and whoever is done renames a file whose bytes he has checked.
 */
export class PartialFile {
  readonly #blob: string;
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #heartbeat: NodeJS.Timeout;
  /** Bytes that are there. */
  #bytes: number;

  private constructor(blob: string, path: string, handle: FileHandle, bytes: number, idleMs: number) {
    this.#blob = blob;
    this.#path = path;
    this.#handle = handle;
    this.#bytes = bytes;
    const touch = () => void utimes(path, new Date(), new Date()).catch(() => {});
    this.#heartbeat = setInterval(touch, idleMs / 5).unref();
  }

  /**
   * The blob's unfinished file, with what earlier runs have of it; null when the blob is there. Waits for another
   * process that is downloading it.
   * @throws ToastError `disk_full`, `write_failed`; AbortError.
   */
  static async claim(blob: string, { bytes, idleMs, signal, onOther }: ClaimOptions): Promise<PartialFile | null> {
    await orCacheWriteError(blob, mkdir(dirname(blob), { recursive: true }));
    const own = `${blob}.${randomBytes(4).toString("hex")}.incomplete`;
    const openOwn = async (flags: "r+" | "wx+") => {
      const handle = await orCacheWriteError(own, open(own, flags, 0o644));
      return new PartialFile(blob, own, handle, (await handle.stat()).size, idleMs);
    };
    for (;;) {
      signal?.throwIfAborted();
      const size = await sizeOf(blob);
      if (size === bytes) return null;
      if (size !== null) await orCacheWriteError(blob, rm(blob, { force: true }));
      if (await moved(`${blob}.incomplete`, own)) return openOwn("r+");
      const [other] = await othersOf(blob);
      if (other === undefined) {
        const partial = await openOwn("wx+");
        // In this order: one that was seen nowhere has become the blob.
        if ((await isOldest(own, await othersOf(blob))) && (await sizeOf(blob)) === null) return partial;
        await partial.discard();
        await sleep(Math.random() * 50, undefined, signal === undefined ? {} : { signal });
        continue;
      }
      onOther?.();
      if ((await liesStill(other, idleMs, signal)) && (await moved(other, own))) return openOwn("r+");
    }
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @throws ToastError `disk_full`, `write_failed` */
  async append(chunk: Uint8Array): Promise<void> {
    for (let done = 0; done < chunk.length; ) {
      const write = this.#handle.write(chunk, done, chunk.length - done, this.#bytes);
      const { bytesWritten } = await orCacheWriteError(this.#path, write);
      done += bytesWritten;
      this.#bytes += bytesWritten;
    }
  }

  /** From the start once more. */
  async reset(): Promise<void> {
    await orCacheWriteError(this.#path, this.#handle.truncate(0));
    this.#bytes = 0;
  }

  async *read(): AsyncGenerator<Uint8Array> {
    const buffer = Buffer.allocUnsafe(1 << 20);
    for (let at = 0; at < this.#bytes; ) {
      const { bytesRead } = await this.#handle.read(buffer, 0, Math.min(buffer.length, this.#bytes - at), at);
      if (bytesRead === 0) break;
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  }

  /**
   * Makes it the blob; its bytes must have been checked.
   * @returns false when another process took it for abandoned meanwhile: the blob is to be claimed anew.
   */
  async finish(): Promise<boolean> {
    await orCacheWriteError(this.#path, this.#handle.sync());
    const { size } = await this.#handle.stat();
    await this.#close();
    return size === this.#bytes && (await moved(this.#path, this.#blob));
  }

  /** Stops half-way: what is there waits for the next run. */
  async release(): Promise<void> {
    await this.#close();
    if (this.#bytes === 0) await rm(this.#path, { force: true });
    else await moved(this.#path, `${this.#blob}.incomplete`);
  }

  async discard(): Promise<void> {
    await this.#close();
    await rm(this.#path, { force: true });
  }

  async #close(): Promise<void> {
    clearInterval(this.#heartbeat);
    await this.#handle.close();
  }
}

/** Bytes of a blob that earlier runs have fetched: all of them, some, or none. */
export async function bytesHere(blob: string): Promise<number> {
  const candidates = [blob, `${blob}.incomplete`, ...(await othersOf(blob))];
  const sizes = await Promise.all(candidates.map(async (path) => (await sizeOf(path)) ?? 0));
  return Math.max(0, ...sizes);
}

/** Files that somebody is writing, or was when he was killed. */
async function othersOf(blob: string): Promise<readonly string[]> {
  const folder = dirname(blob);
  const start = `${basename(blob)}.`;
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => name.startsWith(start) && /^[^.]+\.[0-9a-f]{8}\.incomplete$/.test(name))
    .sort()
    .map((name) => join(folder, name));
}

/**
 * Of several that begin at the same moment, one goes on: whoever was there first is seen by those who come later. Where
 * the file system cannot tell them apart, who sees another begins anew.
 */
async function isOldest(own: string, all: readonly string[]): Promise<boolean> {
  const bornAt = (path: string) =>
    stat(path, { bigint: true }).then(
      ({ birthtimeNs }) => birthtimeNs,
      () => null,
    );
  const mine = await bornAt(own);
  const others = await Promise.all(all.filter((path) => path !== own).map(bornAt));
  return mine !== null && others.every((born) => born === null || born > mine);
}

/** Watched, not compared with a clock: two machines that share a disk have two clocks. */
async function liesStill(path: string, idleMs: number, signal: AbortSignal | undefined): Promise<boolean> {
  const pulse = () =>
    stat(path).then(
      ({ size, mtimeMs }) => `${size} ${mtimeMs}`,
      () => null,
    );
  const first = await pulse();
  const end = performance.now() + idleMs;
  while (performance.now() < end) {
    if (first === null || (await pulse()) !== first) return false;
    await sleep(Math.min(500, idleMs / 10), undefined, signal === undefined ? {} : { signal });
  }
  return true;
}

async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    return orCacheWriteError(to, Promise.reject(error));
  }
}

/** Null: it is not there. */
function sizeOf(path: string): Promise<number | null> {
  return stat(path).then(
    ({ size }) => size,
    () => null,
  );
}
