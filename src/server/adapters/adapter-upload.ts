import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as WebStream } from "node:stream/web";
import { Busboy } from "@fastify/busboy";
import type { AdapterArrivalFiles } from "../../adapters/adapter-builder.js";
import { ToastError } from "../../errors.js";
import { manifestFileName } from "../../model/model-folder.js";

/** A form as it came: its text fields, and its files on the disk. */
export interface AdapterUpload {
  readonly fields: ReadonlyMap<string, string>;
  readonly files: AdapterArrivalFiles;
}

const knownFields = ["model", "name", "sha256"];
/** What a converted adapter is made of, under the names that the converter gives. */
const convertedNames = [manifestFileName, "adapter.onnx", "adapter.onnx.data"];
const trainedWeights = "adapter.safetensors";
const trainedDescription = "adapter.json";
/** What is often sent instead. */
const peftDescription = "adapter_config.json";

/**
 * Reads multipart/form-data onto the disk as it comes: no file is ever in memory whole.
 * @param folder an empty one; files get names of ours there, whatever the client calls them.
 * @param maxBytes of all files together.
 * @throws ToastError `body_too_large`, `invalid_request`, `write_failed`; what was written is the caller's to remove.
 */
export async function receiveUpload(request: Request, folder: string, maxBytes: number): Promise<AdapterUpload> {
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes + formOverhead) throw tooLarge(maxBytes);
  if (request.body === null) throw invalid("The request has no body.");
  const form = new Form(folder, maxBytes);
  return form.read(request.body as WebStream<Uint8Array>, request.headers.get("content-type") ?? "");
}

/** Headers and text fields around the files. */
const formOverhead = 64 * 1024;

class Form {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #fields = new Map<string, string>();
  /** Our name of each file → the client's. */
  readonly #files = new Map<string, string>();
  readonly #writes: Promise<void>[] = [];
  readonly #stop = new AbortController();
  #failure: ToastError | null = null;
  #bytes = 0;

  constructor(folder: string, maxBytes: number) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
  }

  async read(body: WebStream<Uint8Array>, contentType: string): Promise<AdapterUpload> {
    let parser: InstanceType<typeof Busboy>;
    try {
      parser = new Busboy({
        headers: { "content-type": contentType },
        limits: { fields: 16, fieldSize: 4096, fieldNameSize: 100, files: 8, parts: 24 },
      });
    } catch (cause) {
      throw invalid("The form's content type names no boundary.", cause);
    }
    parser.on("file", (_, stream, filename) => this.#receive(stream, filename));
    parser.on("field", (name, value) => this.#setField(name, value));
    const { signal } = this.#stop;
    try {
      await pipeline(Readable.fromWeb(body), parser, { signal });
    } catch (cause) {
      this.#fail(invalid("The form ends before its last part, or is no multipart/form-data.", cause));
    }
    await Promise.all(this.#writes);
    if (this.#failure !== null) throw this.#failure;
    return { fields: this.#fields, files: this.#arrived() };
  }

  #setField(name: string, value: string): void {
    if (knownFields.includes(name)) this.#fields.set(name, value);
  }

  #receive(stream: Readable, filename: string): void {
    if (filename === peftDescription) {
      stream.resume();
      const message = `${peftDescription} is of a PEFT adapter (LoRA and its kin); this server steers with TOAST adapters only (docs/adapters.md).`;
      this.#fail(new ToastError("invalid_adapter", message, { param: "file" }));
      return;
    }
    const own = ownNameOf(filename);
    if (own === null || this.#files.has(own)) {
      stream.resume();
      this.#fail(
        invalid(
          own === null
            ? `The file '${filename.slice(0, 100)}' is none of an adapter: send a .safetensors file and its .json, or ${convertedNames.join(", ")}.`
            : `The form holds two files such as '${filename.slice(0, 100)}'; send one adapter at a time.`,
        ),
      );
      return;
    }
    this.#files.set(own, filename);
    const counted = new Transform({
      transform: (chunk: Buffer, _, done) => {
        this.#bytes += chunk.length;
        if (this.#bytes > this.#maxBytes) done(tooLarge(this.#maxBytes));
        else done(null, chunk);
      },
    });
    const { signal } = this.#stop;
    const file = createWriteStream(join(this.#folder, own), { flags: "wx" });
    this.#writes.push(
      pipeline(stream, counted, file, { signal }).catch((cause: unknown) => {
        this.#fail(
          cause instanceof ToastError
            ? cause
            : new ToastError("write_failed", "The adapter could not be written to this server's adapters folder.", {
                cause,
              }),
        );
      }),
    );
  }

  /** The first failure is the one that is told; it ends everything else. */
  #fail(error: ToastError): void {
    this.#failure ??= error;
    this.#stop.abort();
  }

  #arrived(): AdapterArrivalFiles {
    if (this.#files.has(trainedWeights) && this.#files.has(trainedDescription) && this.#files.size === 2) {
      const name = (this.#files.get(trainedWeights) ?? "").replace(/\.safetensors$/, "");
      return { kind: "trained", weights: join(this.#folder, trainedWeights), name };
    }
    if (this.#files.size === convertedNames.length && convertedNames.every((name) => this.#files.has(name))) {
      return { kind: "converted", folder: this.#folder, origin: "client" };
    }
    const got = [...this.#files.values()].join(", ") || "none";
    throw invalid(
      `An adapter is a .safetensors file and the .json that training writes beside it, or the files ${convertedNames.join(", ")} of a converted one; this form holds ${got}.`,
    );
  }
}

/** Where a file goes; null for one that no adapter has. */
function ownNameOf(filename: string): string | null {
  if (convertedNames.includes(filename)) return filename;
  if (filename.endsWith(".safetensors")) return trainedWeights;
  return filename.endsWith(".json") ? trainedDescription : null;
}

function invalid(message: string, cause?: unknown): ToastError {
  return new ToastError("invalid_request", message, { param: "file", cause });
}

function tooLarge(maxBytes: number): ToastError {
  return new ToastError("body_too_large", `The adapter is larger than ${maxBytes} bytes, the limit of this server.`);
}
