import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStreamDefaultReader, ReadableStream as WebStream } from "node:stream/web";
import { Busboy } from "@fastify/busboy";
import { isDiskFull } from "../disk-full.js";
import { ToastError } from "../errors.js";
import { requireUncompressed } from "./read-json-body.js";
import { within } from "./within.js";

/** What a form may hold. */
export interface FormRules {
  /** An empty one; files get names of ours there, whatever the client calls them. */
  readonly folder: string;
  /** Of all files together. */
  readonly maxBytes: number;
  /** Text fields; others are passed over. */
  readonly fields: readonly string[];
  /** Where a file goes; null for one that is not taken. */
  ownNameOf(filename: string): string | null;
  /** What is sent, with its article, for messages: `the adapter`. */
  readonly subject: string;
  /** Why a file is not taken. */
  refusal(filename: string): ToastError;
}

/** A form as it came: its text fields, and its files on the disk, our name of each → the client's. */
export interface ReceivedForm {
  readonly fields: ReadonlyMap<string, string>;
  readonly files: ReadonlyMap<string, string>;
}

/**
 * Reads multipart/form-data onto the disk as it comes: no file is ever in memory whole.
 * @throws ToastError `body_too_large`, `unsupported_encoding`, `invalid_request`, `write_failed`; what was written is
 *   the caller's to remove.
 */
export async function receiveForm(request: Request, rules: FormRules): Promise<ReceivedForm> {
  requireUncompressed(request);
  if (Number(request.headers.get("content-length") ?? 0) > rules.maxBytes + formOverhead) throw tooLarge(rules);
  if (request.body === null) throw invalidForm("The request has no body.");
  const form = new Form(rules);
  return form.read(request.body as WebStream<Uint8Array>, request.headers.get("content-type") ?? "");
}

export function isForm(request: Request): boolean {
  return /^multipart\/form-data\b/i.test(request.headers.get("content-type") ?? "");
}

/** Headers and text fields around the files. */
const formOverhead = 64 * 1024;
/** How long the rest of a form that is refused is read, and passed over. */
const restMs = 10_000;
/** Who sends nothing for so long waits for the answer. */
const pauseMs = 500;

class Form {
  readonly #rules: FormRules;
  readonly #fields = new Map<string, string>();
  readonly #files = new Map<string, string>();
  readonly #writes: Promise<void>[] = [];
  readonly #stop = new AbortController();
  #failure: ToastError | null = null;
  #bytes = 0;

  constructor(rules: FormRules) {
    this.#rules = rules;
  }

  async read(body: WebStream<Uint8Array>, contentType: string): Promise<ReceivedForm> {
    let parser: InstanceType<typeof Busboy>;
    try {
      parser = new Busboy({
        headers: { "content-type": contentType },
        limits: { fields: 16, fieldSize: 4096, fieldNameSize: 100, files: 8, parts: 24 },
      });
    } catch (cause) {
      throw invalidForm("The form's content type names no boundary.", cause);
    }
    parser.on("file", (_, stream, filename) => this.#receive(stream, filename));
    parser.on("field", (name, value) => {
      if (this.#rules.fields.includes(name)) this.#fields.set(name, value);
    });
    const { signal } = this.#stop;
    const reader: BodyReader = body.getReader();
    try {
      await pipeline(Readable.from(chunksOf(reader, signal)), parser, { signal });
    } catch (cause) {
      this.#fail(invalidForm("The form ends before its last part, or is no multipart/form-data.", cause));
    }
    await Promise.all(this.#writes);
    if (this.#failure !== null) await this.#passOver(reader);
    if (this.#failure !== null) throw this.#failure;
    return { fields: this.#fields, files: this.#files };
  }

  /**
   * Reads on, as far as a form may go: who still sends when the connection closes loses the answer with it.
   * @see RFC 9112, 9.6
   */
  async #passOver(reader: BodyReader): Promise<void> {
    let left = this.#rules.maxBytes + formOverhead;
    const end = performance.now() + restMs;
    while (left >= 0 && performance.now() < end) {
      const next = await within(reader.read(), pauseMs).catch(() => "late" as const);
      if (next === "late" || next.done) break;
      left -= next.value.byteLength;
    }
    // Gives what is still on its way back to the connection, which closes.
    await reader.cancel(this.#failure).catch(() => {});
  }

  #receive(stream: Readable, filename: string): void {
    const { folder, subject, maxBytes } = this.#rules;
    const own = this.#rules.ownNameOf(filename);
    if (own === null || this.#files.has(own)) {
      stream.resume();
      const twice = `The form holds two files such as '${filename.slice(0, 100)}'; send ${subject.replace(/^the/, "one")} at a time.`;
      this.#fail(own === null ? this.#rules.refusal(filename.slice(0, 100)) : invalidForm(twice));
      return;
    }
    this.#files.set(own, filename);
    const counted = new Transform({
      transform: (chunk: Buffer, _, done) => {
        this.#bytes += chunk.length;
        if (this.#bytes > maxBytes) done(tooLarge(this.#rules));
        else done(null, chunk);
      },
    });
    const { signal } = this.#stop;
    const file = createWriteStream(join(folder, own), { flags: "wx" });
    this.#writes.push(
      pipeline(stream, counted, file, { signal }).catch((cause: unknown) => {
        this.#fail(cause instanceof ToastError ? cause : notWritten(subject, cause));
      }),
    );
  }

  /** The first failure is the one that is told; it ends everything else. */
  #fail(error: ToastError): void {
    this.#failure ??= error;
    this.#stop.abort();
  }
}

type BodyReader = ReadableStreamDefaultReader<Uint8Array>;

/**
 * Who stops reading them does not end the body.
 * @param signal ends them, also while a chunk is waited for: from Node 24 on a pipeline waits for its source.
 */
async function* chunksOf(reader: BodyReader, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const stopped = new Promise<null>((resolve) => signal.addEventListener("abort", () => resolve(null), { once: true }));
  for (;;) {
    const next = await Promise.race([reader.read(), stopped]);
    if (next === null || next.done) return;
    yield next.value;
  }
}

export function invalidForm(message: string, cause?: unknown): ToastError {
  return new ToastError("invalid_request", message, { param: "file", cause });
}

function tooLarge({ subject, maxBytes }: FormRules): ToastError {
  const message = `${capitalized(subject)} is larger than ${maxBytes} bytes, the limit of this server.`;
  return new ToastError("body_too_large", message);
}

function capitalized(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function notWritten(subject: string, cause: unknown): ToastError {
  if (isDiskFull(cause)) {
    const message = `${capitalized(subject)} could not be kept: this server's disk is full. Nothing of it was left behind.`;
    return new ToastError("disk_full", message, { cause });
  }
  return new ToastError("write_failed", `${capitalized(subject)} could not be written to this server's disk.`, {
    cause,
  });
}
