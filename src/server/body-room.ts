import type { Readable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { ToastError } from "../errors.js";

/** Bytes of bodies that may be on their way at the same time: sixteen of the largest, as a rule. */
const defaultMostBytes = 64 * 1024 * 1024;
/** For each piece of a body of that size, or less: a slow line brings it in half of the time. */
const pieceMs = 30_000;
const pieceBytes = 4 * 1024 * 1024;
/**
 * Read in one turn of the event loop, of all bodies together: what comes faster waits in its sockets, and whoever asks
 * for something small comes between.
 */
const turnBytes = 1024 * 1024;
/** How long the rest of a refused body may take. */
const skipMs = 500;
/** No request takes longer (ConnectionLimits). */
const mostMs = 300_000;

interface Arrival {
  bytes: number;
  readonly giveUp: (error: ToastError) => void;
}

/**
 * What all bodies that are on their way may take of the memory. Whoever sends the most of a body and never the rest
 * takes it for as long as he likes; so a body has its time, and where there is no room for what comes, that which has
 * been on its way for longest is refused, never the newcomer.
 */
export class BodyRoom {
  readonly #mostBytes: number;
  readonly #pieceMs: number;
  /** In the order in which they began. */
  readonly #arrivals = new Set<Arrival>();
  #bytes = 0;
  #bytesInTurn = 0;
  #nextTurn: Promise<void> | null = null;

  constructor({ mostBytes = defaultMostBytes, milliseconds = pieceMs } = {}) {
    this.#mostBytes = mostBytes;
    this.#pieceMs = milliseconds;
  }

  /**
   * @param maxBytes of the one body.
   * @param incoming the same request where it came over a socket: read from there, since a web stream that is made of
   *   one takes all that comes whether it is read or not (Node 20 counts its pieces instead of bytes).
   * @throws ToastError `body_too_large`, `request_timeout`, `server_overloaded`
   */
  async read(request: Request, maxBytes: number, incoming?: Readable): Promise<Buffer> {
    const pieces = piecesOf(request, incoming);
    if (pieces === null) return Buffer.alloc(0);
    let giveUp: Arrival["giveUp"] = () => {};
    const givenUp = new Promise<never>((_, reject) => {
      giveUp = reject;
    });
    // It may be given up between two reads.
    givenUp.catch(() => {});
    const arrival: Arrival = { bytes: 0, giveUp };
    const milliseconds = Math.min(mostMs, this.#pieceMs * Math.max(1, Math.ceil(maxBytes / pieceBytes)));
    const deadline = setTimeout(() => giveUp(tooSlow(milliseconds)), milliseconds);
    this.#arrivals.add(arrival);
    const chunks: Uint8Array[] = [];
    try {
      for (;;) {
        while (this.#bytesInTurn >= turnBytes) await Promise.race([this.#turn(), givenUp]);
        const { done, value } = await Promise.race([pieces.next(), givenUp]);
        if (done === true || value === undefined) return Buffer.concat(chunks, arrival.bytes);
        this.#take(arrival, value.byteLength);
        if (arrival.bytes > maxBytes) throw tooLarge(maxBytes);
        chunks.push(value);
      }
    } catch (error) {
      this.#leave(arrival);
      await this.#skipRest(pieces);
      throw error;
    } finally {
      clearTimeout(deadline);
      this.#leave(arrival);
    }
  }

  #take(arrival: Arrival, bytes: number): void {
    arrival.bytes += bytes;
    this.#bytes += bytes;
    this.#bytesInTurn += bytes;
    void this.#turn();
    for (const oldest of this.#arrivals) {
      if (this.#bytes <= this.#mostBytes) return;
      if (oldest === arrival) continue;
      this.#leave(oldest);
      oldest.giveUp(noRoom());
    }
  }

  /**
   * Who is refused in the middle has to send the rest before he reads why. It comes in turns with what is kept, as a
   * flood of refused bodies is one, too.
   */
  async #skipRest(pieces: Pieces): Promise<void> {
    const enough = new AbortController();
    const late = wait(skipMs, null, { signal: enough.signal });
    try {
      for (;;) {
        while (this.#bytesInTurn >= turnBytes) if ((await Promise.race([this.#turn(), late])) === null) return;
        const piece = await Promise.race([pieces.next(), late]);
        if (piece === null || piece.value === undefined) return;
        this.#bytesInTurn += piece.value.byteLength;
        void this.#turn();
      }
    } catch {
      // The sender has gone, or the body had failed before.
    } finally {
      enough.abort();
      late.catch(() => {});
    }
  }

  /** @returns once the event loop has been round. */
  #turn(): Promise<void> {
    this.#nextTurn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#bytesInTurn = 0;
        this.#nextTurn = null;
        resolve();
      });
    });
    return this.#nextTurn;
  }

  #leave(arrival: Arrival): void {
    if (this.#arrivals.delete(arrival)) this.#bytes -= arrival.bytes;
  }
}

interface Pieces {
  next(): Promise<{ readonly done?: boolean | undefined; readonly value?: Uint8Array | undefined }>;
}

/** @returns null where there is no body. */
function piecesOf(request: Request, incoming: Readable | undefined): Pieces | null {
  // Who is refused in the middle still reads why: the connection is not ended.
  if (incoming !== undefined) return incoming.iterator({ destroyOnReturn: false }) as AsyncIterator<Uint8Array>;
  const reader = request.body?.getReader();
  return reader === undefined ? null : { next: () => reader.read() };
}

export function tooLarge(maxBytes: number): ToastError {
  return new ToastError(
    "body_too_large",
    `The request body is larger than ${maxBytes} bytes, the limit of this server.`,
  );
}

function tooSlow(milliseconds: number): ToastError {
  const message = `The request body took more than ${milliseconds / 1000} seconds to arrive.`;
  return new ToastError("request_timeout", message);
}

function noRoom(): ToastError {
  const message = "The request body was on its way for too long, and others need the room. Send it again, in one go.";
  return new ToastError("server_overloaded", message);
}
