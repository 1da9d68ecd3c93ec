import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ToastError } from "../../errors.js";

const run = promisify(execFile);

/** What to measure beside the engine. */
export interface PeerOptions {
  /** With the programs llama-bench and llama-batched-bench. */
  readonly folder: string;
  /** A GGUF file of the same weights. */
  readonly model: string;
  readonly threads: number | undefined;
}

/** Tokens of each prompt of several streams: about what the questions of `bench` have. */
const promptTokens = 32;

/**
 * llama.cpp by its own benchmarks. Every figure is one process: it loads the file, warms up, measures once.
 * @see https://github.com/ggml-org/llama.cpp/tree/master/tools/llama-bench
 */
export class LlamaCpp {
  readonly #folder: string;
  readonly #model: string;
  readonly #threads: string;

  private constructor({ folder, model, threads }: PeerOptions) {
    this.#folder = folder;
    this.#model = model;
    this.#threads = String(threads ?? availableParallelism());
  }

  /** @throws ToastError `invalid_option` for programs or a file that are not there */
  static async open(options: PeerOptions): Promise<LlamaCpp> {
    const { folder, model } = options;
    for (const program of ["llama-bench", "llama-batched-bench"]) {
      await access(join(folder, program), constants.X_OK).catch((cause: unknown) => {
        const message = `--peer ${folder} has no program ${program}: give the bin folder of a build of llama.cpp.`;
        throw new ToastError("invalid_option", message, { cause });
      });
    }
    await access(model).catch((cause: unknown) => {
      throw new ToastError("invalid_option", `--peer-model ${model} cannot be read: give a GGUF file.`, { cause });
    });
    return new LlamaCpp(options);
  }

  /** @returns tokens a second of all streams together */
  async decode(streams: number, tokens: number, stop: AbortSignal): Promise<number> {
    if (streams === 1) return this.#bench(["-p", "0", "-n", String(tokens)], stop);
    const context = streams * (promptTokens + tokens);
    const words = [
      "-c",
      String(context),
      "-npp",
      String(promptTokens),
      "-ntg",
      String(tokens),
      "-npl",
      String(streams),
    ];
    const output = await this.#output("llama-batched-bench", [...words, "--output-format", "jsonl"], stop);
    const line = output.split("\n").find((one) => one.startsWith("{"));
    return figure(line === undefined ? null : (JSON.parse(line) as { speed_tg?: unknown }).speed_tg);
  }

  /** @returns tokens a second of one prompt */
  prefill(length: number, stop: AbortSignal): Promise<number> {
    return this.#bench(["-p", String(length), "-n", "0"], stop);
  }

  async #bench(words: readonly string[], stop: AbortSignal): Promise<number> {
    const output = await this.#output("llama-bench", [...words, "-r", "1", "-o", "json"], stop);
    const [result] = JSON.parse(output) as [{ avg_ts?: unknown }?];
    return figure(result?.avg_ts);
  }

  async #output(program: string, words: readonly string[], stop: AbortSignal): Promise<string> {
    const all = ["-m", this.#model, "-t", this.#threads, ...words];
    try {
      return (await run(join(this.#folder, program), all, { signal: stop })).stdout;
    } catch (cause) {
      stop.throwIfAborted();
      const { stderr = "" } = cause as { stderr?: string };
      const last = stderr.trim().split("\n").at(-1) ?? "";
      throw new ToastError("peer_failed", `${program} ${all.join(" ")} failed: ${last.slice(0, 300)}`, { cause });
    }
  }
}

function figure(value: unknown): number {
  if (typeof value === "number" && value > 0) return value;
  throw new ToastError("peer_failed", "This llama.cpp prints its results in a form that is not known here.");
}
