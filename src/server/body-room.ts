import type { Readable } from "node:stream";
import { ToastError } from "../errors.js";
import { SharedTurns } from "./shared-turns.js";
import { within } from "./within.js";

/** Bytes of bodies that may be on their way at the same time: sixteen of the largest, as a rule. */
const defaultMostBytes = 64 * 1024 * 1024;
/** For each piece of a body of that size, or less: a slow line brings it in half of the time. */
const pieceMs = 30_000;
const pieceBytes = 4 * 1024 * 1024;
/** No request takes longer (ConnectionLimits). */
const mostMs = 300_000;
/**
 * Read in one turn of the event loop, of all bodies together, by so many readers; a socket gives 64 KiB at a time. What
 * comes faster waits in its sockets.
 */
const turn = { most: 128 * 1024, takers: 2 };
/** The same of the rests of bodies that are not wanted: a flood of these is to cost less than one of those. */
const restTurn = { most: 64 * 1024, takers: 1 };
/** Of the rest of a body that is not wanted: how long it may take, and what it may be. */
const skipMs = 10_000;
const skipBytes = 64 * 1024 * 1024;
/** Who sends nothing for so long waits for the answer. */
const pauseMs = 500;

interface Arrival {
  /** Of its chunks. */
  bytes: number;
  chunks: Uint8Array[];
  phase: "coming" | "over";
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
  readonly #turns = new SharedTurns(turn);
  readonly #restTurns = new SharedTurns(restTurn);
  /** In the order in which they began. */
  readonly #arrivals = new Set<Arrival>();
  #bytes = 0;

  constructor({ mostBytes = defaultMostBytes, milliseconds = pieceMs } = {}) {
    this.#mostBytes = mostBytes;
    this.#pieceMs = milliseconds;
  }

  /**
   * What is left of a body that is refused is the caller's to {@link skipRest}.
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
    const arrival: Arrival = { bytes: 0, chunks: [], phase: "coming", giveUp };
    this.#arrivals.add(arrival);
    const milliseconds = Math.min(mostMs, this.#pieceMs * Math.max(1, Math.ceil(maxBytes / pieceBytes)));
    const deadline = setTimeout(() => giveUp(tooSlow(milliseconds)), milliseconds);
    try {
      // Once for the whole body: a promise that others race against piece by piece keeps something of every race.
      return await Promise.race([this.#readAll(arrival, pieces, maxBytes), givenUp]);
    } finally {
      clearTimeout(deadline);
      this.#leave(arrival);
    }
  }

  /**
   * Reads on, and passes over, what is left of a body: who is refused in the middle of sending it has to send the rest
   * before he reads why. In turns, as a flood of refused bodies is one, too.
   * @returns whether the end came, within some time and some bytes.
   * @see RFC 9112, 9.6
   */
  async skipRest(incoming: Readable): Promise<"whole" | "unfinished"> {
    const end = performance.now() + skipMs;
    const pieces = incoming.iterator({ destroyOnReturn: false });
    try {
      for (let left = skipBytes; left >= 0 && performance.now() < end; ) {
        await this.#restTurns.next();
        const next = await within(pieces.next(), pauseMs);
        if (next === "late") return "unfinished";
        if (next.done === true) return "whole";
        const { byteLength } = next.value as Uint8Array;
        this.#restTurns.took(byteLength);
        left -= byteLength;
      }
    } catch {
      // Its sender has gone.
    }
    return "unfinished";
  }

  async #readAll(arrival: Arrival, pieces: Pieces, maxBytes: number): Promise<Buffer> {
    for (;;) {
      await this.#turns.next();
      const { done, value } = await pieces.next();
      if (value !== undefined) this.#turns.took(value.byteLength);
      // Nobody hears of it any more.
      if (arrival.phase === "over") return Buffer.alloc(0);
      if (done === true || value === undefined) return Buffer.concat(arrival.chunks, arrival.bytes);
      this.#take(arrival, value);
      if (arrival.bytes > maxBytes) throw tooLarge(maxBytes);
    }
  }

  #take(arrival: Arrival, piece: Uint8Array): void {
    arrival.chunks.push(piece);
    arrival.bytes += piece.byteLength;
    this.#bytes += piece.byteLength;
    for (const oldest of this.#arrivals) {
      if (this.#bytes <= this.#mostBytes) return;
      if (oldest === arrival) continue;
      this.#leave(oldest);
      oldest.giveUp(noRoom());
    }
  }

  /** What it holds is free at once, though its next piece may be waited for as long as its sender likes. */
  #leave(arrival: Arrival): void {
    arrival.phase = "over";
    arrival.chunks = [];
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
