import { readSync } from "node:fs";
import { ToastError } from "../../errors.js";

/** Bytes read ahead. */
const windowBytes = 1 << 20;
/** Of a header: tokenizers of a million tokens stay far below. */
const largestHeader = 256 << 20;
/** Strict, and a byte order mark is text: there are tokens that are one. */
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads a GGUF header from front to back, little-endian, a window of the file in memory at a time. Reading is
 * synchronous: a header is half a million values of a few bytes, and a promise for each would take longer than all of
 * them.
 *
 * Every method throws ToastError `corrupt_gguf` where the file ends too early; `what` is then what it ends in.
 */
export class HeaderCursor {
  readonly file: string;
  readonly fileBytes: number;
  readonly #descriptor: number;
  #window = new DataView(new ArrayBuffer(0));
  #windowStart = 0;
  #position = 0;

  constructor(file: string, descriptor: number, fileBytes: number) {
    this.file = file;
    this.fileBytes = fileBytes;
    this.#descriptor = descriptor;
  }

  /** Bytes from the start of the file. */
  get position(): number {
    return this.#position;
  }

  uint8(what: string): number {
    return this.#take(1, what, (view, at) => view.getUint8(at));
  }

  int8(what: string): number {
    return this.#take(1, what, (view, at) => view.getInt8(at));
  }

  uint16(what: string): number {
    return this.#take(2, what, (view, at) => view.getUint16(at, true));
  }

  int16(what: string): number {
    return this.#take(2, what, (view, at) => view.getInt16(at, true));
  }

  uint32(what: string): number {
    return this.#take(4, what, (view, at) => view.getUint32(at, true));
  }

  int32(what: string): number {
    return this.#take(4, what, (view, at) => view.getInt32(at, true));
  }

  float32(what: string): number {
    return this.#take(4, what, (view, at) => view.getFloat32(at, true));
  }

  float64(what: string): number {
    return this.#take(8, what, (view, at) => view.getFloat64(at, true));
  }

  /**
   * Rounded to float64 where it is larger than 2^53: no value that matters is, and sizes are checked against the file.
   */
  uint64(what: string): number {
    return this.#take(8, what, (view, at) => Number(view.getBigUint64(at, true)));
  }

  /** As `uint64`. */
  int64(what: string): number {
    return this.#take(8, what, (view, at) => Number(view.getBigInt64(at, true)));
  }

  /** A count of things that take `bytesEach` at least, so that a claim which the file cannot hold ends here. */
  count(what: string, bytesEach: number, most: number): number {
    const count = this.uint64(what);
    const left = Math.floor((Math.min(this.fileBytes, largestHeader) - this.#position) / bytesEach);
    if (count > Math.min(most, left)) {
      throw this.corrupt(`it claims ${count} ${what}; the limit is ${most}, and it has room for ${left}`);
    }
    return count;
  }

  /** UTF-8 behind its length. */
  string(what: string, most = largestHeader): string {
    const length = this.uint64(what);
    if (length > most) throw this.corrupt(`${what} claims ${length} bytes, the limit is ${most}`);
    this.#reach(length, what);
    const start = this.#position - this.#windowStart;
    const bytes = new Uint8Array(this.#window.buffer, start, length);
    this.#position += length;
    try {
      return utf8.decode(bytes);
    } catch {
      throw this.corrupt(`${what} is no valid UTF-8`);
    }
  }

  corrupt(what: string): ToastError {
    return corruptGguf(this.file, what);
  }

  #take(bytes: number, what: string, read: (view: DataView, at: number) => number): number {
    this.#reach(bytes, what);
    const value = read(this.#window, this.#position - this.#windowStart);
    this.#position += bytes;
    return value;
  }

  /** Has the next `bytes` in the window. */
  #reach(bytes: number, what: string): void {
    if (this.#position + bytes <= this.#windowStart + this.#window.byteLength) return;
    if (this.#position + bytes > this.fileBytes) {
      throw this.corrupt(`it ends after ${this.fileBytes} bytes, inside ${what}`);
    }
    if (this.#position + bytes > largestHeader) {
      throw this.corrupt(`its header is longer than ${largestHeader} bytes, the limit`);
    }
    const size = Math.min(Math.max(bytes, windowBytes), this.fileBytes - this.#position);
    const window = new Uint8Array(size);
    for (let filled = 0; filled < size; ) {
      const read = readSync(this.#descriptor, window, filled, size - filled, this.#position + filled);
      if (read === 0) throw this.corrupt(`it ends inside ${what}`);
      filled += read;
    }
    this.#window = new DataView(window.buffer);
    this.#windowStart = this.#position;
  }
}

export function corruptGguf(file: string, what: string): ToastError {
  return new ToastError("corrupt_gguf", `${file} is damaged or no GGUF file: ${what}.`);
}
