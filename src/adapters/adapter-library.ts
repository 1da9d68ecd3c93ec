import { randomUUID } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { readBackboneHash } from "../convert/adapter-source.js";
import type { ConversionJob } from "../convert/convert-in-thread.js";
import { publishFolder } from "../convert/output-folder.js";
import { isDiskFull, orDiskFull } from "../disk-full.js";
import { modelIn } from "../engine/engine.js";
import type { AdapterInfo, ModelInfo } from "../engine/model-info.js";
import { ToastError } from "../errors.js";
import { readAdapterManifest, readBackboneManifest } from "../model/model-folder.js";
import { type AdapterArrival, filesAt, nameOf } from "./adapter-arrival.js";
import { type AdapterArrivalFiles, AdapterBuilder, fingerprintOf } from "./adapter-builder.js";
import { type AdapterCandidate, AdapterFiles, checkAdapterName } from "./adapter-files.js";
import { type AdapterHost, adapterOf, hostOf, hostsOfBackbone, modelOf, readyHosts } from "./adapter-hosts.js";
import { WatchedFolder } from "./watched-folder.js";

/** `model_folder`: it came with the model and is always loaded with it. */
export type AdapterOrigin = "model_folder" | "watched_folder" | "upload";

export interface ServedAdapter {
  readonly model: ModelInfo;
  readonly info: AdapterInfo;
  readonly origin: AdapterOrigin;
}

/** Files of the adapters folder that are not served, and why. */
export interface AdapterProblem {
  readonly path: string;
  readonly message: string;
}

/** Where the library says what it does. */
export type AdapterLog = Readonly<Record<"info" | "warn" | "error", (message: string) => void>>;

export interface AdapterLibraryOptions {
  /** May grow until `start`. */
  readonly hosts: readonly AdapterHost[];
  /** Null: only adapters of model folders are served, and none can be added. */
  readonly directory: string | null;
  /** @see convertInThread */
  readonly convert: (job: ConversionJob, signal: AbortSignal) => Promise<unknown>;
  readonly log: AdapterLog;
}

/** Of a candidate in the adapters folder. */
interface Entry {
  candidate: AdapterCandidate;
  readonly hosts: Set<AdapterHost>;
  problem: string | null;
}

/**
 * The adapters of all models of a process while it runs: those of the model folders, of a folder that is watched, and
 * those that clients send. Files say which backbone they belong to. Knows no HTTP.
 */
export class AdapterLibrary {
  readonly #options: AdapterLibraryOptions;
  readonly #files: AdapterFiles | null;
  readonly #watched: WatchedFolder<AdapterCandidate> | null;
  readonly #builder: AdapterBuilder;
  readonly #entries = new Map<string, Entry>();
  /** `model:name` of those that are on their way. */
  readonly #reserved = new Set<string>();
  readonly #stop = new AbortController();
  /** What changes entries happens one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: AdapterLibraryOptions) {
    this.#options = options;
    this.#files = options.directory === null ? null : new AdapterFiles(options.directory);
    this.#watched = this.#files === null ? null : new WatchedFolder(this.#files);
    this.#builder = new AdapterBuilder(options.convert, this.#stop.signal);
  }

  /** What is served now, model by model. */
  get served(): readonly ServedAdapter[] {
    return readyHosts(this.#options.hosts).flatMap((host) => {
      const model = modelOf(host);
      return model.adapters.map((info) => ({ model, info, origin: originOf(this.#entryOf(host, info.name)) }));
    });
  }

  get problems(): readonly AdapterProblem[] {
    return [...this.#entries.values()].flatMap(({ candidate, problem }) =>
      problem === null ? [] : [{ path: this.#shown(candidate.path), message: problem }],
    );
  }

  /** Loads what is in the folder, then watches it. To be called when no engine loads any more. */
  async start(): Promise<void> {
    if (this.#files === null || this.#stop.signal.aborted) return;
    const { root } = this.#files;
    await mkdir(root, { recursive: true }).catch((cause: unknown) => {
      this.#options.log.error(`The adapters folder ${root} cannot be made: ${String(cause)}`);
    });
    await this.#files.sweep(Date.now());
    await this.rescan("at once");
    this.#watched?.start(() =>
      this.rescan("settled").catch((error: unknown) =>
        this.#options.log.error(`The adapters folder could not be read: ${String(error)}`),
      ),
    );
  }

  /** Ends the watching and what is being converted. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#watched?.stop();
    await Promise.allSettled([this.#last, this.#builder.idle]);
  }

  /**
   * Brings what is served in line with the folder.
   * @param changes `settled`: files that changed since the last look may still be written to, and wait for the next
   *   one.
   */
  rescan(changes: "at once" | "settled"): Promise<void> {
    return this.#inTurn(async () => {
      const { gone, changed } = (await this.#watched?.look(changes)) ?? { gone: [], changed: [] };
      for (const path of gone) await this.#dropEntry(path);
      for (const candidate of changed) {
        if (this.#stop.signal.aborted) return;
        const entry = this.#entries.get(candidate.path) ?? { candidate, hosts: new Set<AdapterHost>(), problem: null };
        entry.candidate = candidate;
        this.#entries.set(candidate.path, entry);
        await this.#loadEntry(entry);
      }
    });
  }

  /**
   * A new place for files that arrive, inside the adapters folder.
   * @throws ToastError `invalid_request` when there is no such folder; `write_failed`.
   */
  async openIncoming(): Promise<{ readonly folder: string; remove(): Promise<void> }> {
    const folder = this.#requireFiles().incoming(randomUUID());
    await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
      if (isDiskFull(cause)) throw orDiskFull(cause, "adapters folder");
      throw new ToastError("write_failed", "This server's adapters folder cannot be written to.", { cause });
    });
    return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
  }

  /**
   * Files that lie inside the adapters folder already.
   * @throws ToastError `invalid_request` with the param `path`
   */
  filesAt(path: string): Promise<AdapterArrivalFiles> {
    return this.#redacted(() => filesAt(this.#requireFiles(), path));
  }

  /**
   * Takes an adapter in: checks it, converts it if need be, puts it down for the next start, loads it.
   * @param incoming a place of `openIncoming` to build in.
   * @throws ToastError with what is wrong with it; nothing of it is left then.
   */
  add(arrival: AdapterArrival, incoming: string): Promise<ServedAdapter> {
    return this.#redacted(() => this.#add(arrival, incoming));
  }

  async #add(arrival: AdapterArrival, incoming: string): Promise<ServedAdapter> {
    const files = this.#requireFiles();
    const host = hostOf(this.#options.hosts, arrival.model);
    const backbone = await readBackboneManifest(host.folder);
    const name = arrival.name ?? (await nameOf(arrival.files));
    checkAdapterName(name);
    const reservation = `${backbone.id}:${name}`;
    const isTaken = adapterOf(host, name) !== undefined || this.#reserved.has(reservation);
    if (isTaken) throw taken(backbone.id, name);
    this.#reserved.add(reservation);
    try {
      const built = join(incoming, "built", name);
      const target = { folder: host.folder, backbone, name, out: built };
      await this.#builder.build(arrival.files, arrival.sha256, target);
      return await this.#inTurn(() => this.#publish(host, name, built, files.uploadOf(backbone.id, name)));
    } finally {
      this.#reserved.delete(reservation);
    }
  }

  /**
   * Takes an adapter out. New requests do not find it from now on; an uploaded one does not come back, others do with
   * the next start or when their files change.
   * @returns `released` resolves when the last request that uses it has ended.
   * @throws ToastError `model_not_found`
   */
  remove(
    model: string,
    name: string,
  ): Promise<{ readonly files: "removed" | "kept"; readonly released: Promise<void> }> {
    return this.#inTurn(async () => {
      const host = hostOf(this.#options.hosts, model);
      if (adapterOf(host, name) === undefined) {
        const message = `The model '${model}' has no adapter '${name.slice(0, 100)}'. See GET /v1/adapters.`;
        throw new ToastError("model_not_found", message, { param: "name" });
      }
      const entry = this.#entryOf(host, name);
      const released = host.unloadAdapter(name);
      // Whoever asked may not wait for it.
      released.catch(() => {});
      entry?.hosts.delete(host);
      if (entry === undefined || entry.candidate.kind !== "uploaded") return { files: "kept", released };
      this.#entries.delete(entry.candidate.path);
      this.#watched?.forget(entry.candidate.path);
      await rm(entry.candidate.path, { recursive: true, force: true });
      return { files: "removed", released };
    });
  }

  async #publish(host: AdapterHost, name: string, built: string, path: string): Promise<ServedAdapter> {
    const files = this.#requireFiles();
    if (adapterOf(host, name) !== undefined) throw taken(modelOf(host).id, name);
    await mkdir(dirname(path), { recursive: true });
    // Nothing that is served has this name, so what may lie there is an upload that could not be loaded.
    await rm(path, { recursive: true, force: true });
    await publishFolder(built, path);
    try {
      await host.loadAdapter({ name, folder: path, mode: "add" });
    } catch (error) {
      await rm(path, { recursive: true, force: true });
      throw error;
    }
    const info = adapterOf(host, name);
    const candidate = (await files.list()).find((one) => one.path === path);
    if (info === undefined || candidate === undefined) throw new Error(`adapter ${name} was loaded and is not there`);
    this.#entries.set(path, { candidate, hosts: new Set([host]), problem: null });
    this.#watched?.remember(candidate);
    return { model: modelOf(host), info, origin: "upload" };
  }

  /** Loads, or loads anew, what has changed. What cannot be loaded leaves what was loaded before as it is. */
  async #loadEntry(entry: Entry): Promise<void> {
    const { candidate } = entry;
    const { path, name } = candidate;
    try {
      checkAdapterName(name);
      for (const host of await this.#hostsFor(candidate)) {
        const mode = entry.hosts.has(host) ? "replace" : "add";
        if (mode === "add" && adapterOf(host, name) !== undefined) throw taken(modelOf(host).id, name);
        const folder = candidate.kind === "trained" ? await this.#convertedVersion(candidate, host) : path;
        await host.loadAdapter({ name, folder, mode });
        entry.hosts.add(host);
        this.#options.log.info(`Adapter ${modelOf(host).id}:${name} is served (${this.#shown(path)}).`);
      }
      entry.problem = null;
    } catch (error) {
      entry.problem = this.#shown(error instanceof Error ? error.message : String(error));
      this.#options.log.warn(`Adapter ${this.#shown(path)} is not served: ${entry.problem}`);
    }
  }

  async #dropEntry(path: string): Promise<void> {
    const entry = this.#entries.get(path);
    if (entry === undefined) return;
    this.#entries.delete(path);
    const { candidate } = entry;
    for (const host of entry.hosts) {
      if (modelIn(host.phase) === null) continue;
      host.unloadAdapter(candidate.name).catch(() => {});
      if (candidate.kind === "trained") await this.#files?.pruneConverted(modelOf(host).id, candidate.name, null);
      this.#options.log.info(`Adapter ${modelOf(host).id}:${candidate.name} is no longer served: its files are gone.`);
    }
  }

  /** @throws ToastError `adapter_mismatch` when no model here has its backbone */
  async #hostsFor(candidate: AdapterCandidate): Promise<readonly AdapterHost[]> {
    const { hosts } = this.#options;
    if (candidate.kind !== "uploaded") return hostsOfBackbone(hosts, await backboneOf(candidate));
    const host = readyHosts(hosts).find((one) => modelOf(one).id === candidate.model);
    if (host !== undefined) return [host];
    const message = `It was sent for the model ${candidate.model}, which is not served now.`;
    throw new ToastError("adapter_mismatch", message);
  }

  /** Converted once, then found again by the content of its files. */
  async #convertedVersion({ path, name }: AdapterCandidate, host: AdapterHost): Promise<string> {
    const files = this.#requireFiles();
    const { id, quantization } = await readBackboneManifest(host.folder);
    const folder = files.convertedOf(id, name, await fingerprintOf(path, quantization));
    const isThere = await readAdapterManifest(folder).then(
      () => true,
      () => false,
    );
    if (!isThere) {
      const incoming = await this.openIncoming();
      try {
        const built = join(incoming.folder, name);
        await this.#builder.convert({ model: host.folder, file: path, name, out: built });
        await rm(folder, { recursive: true, force: true });
        await mkdir(dirname(folder), { recursive: true });
        await publishFolder(built, folder);
      } finally {
        await incoming.remove();
      }
    }
    await files.pruneConverted(id, name, folder);
    return folder;
  }

  #entryOf(host: AdapterHost, name: string): Entry | undefined {
    return [...this.#entries.values()].find(({ candidate, hosts }) => candidate.name === name && hosts.has(host));
  }

  /** @throws ToastError `invalid_request` */
  #requireFiles(): AdapterFiles {
    if (this.#files !== null) return this.#files;
    const message = "This server takes no adapters: start it with --adapters-dir <folder> to have a place for them.";
    throw new ToastError("invalid_request", message);
  }

  /**
   * Paths as they are inside the adapters folder: where that lies, and where files lay for a moment, is nobody else's
   * business.
   */
  #shown(text: string): string {
    return this.#files === null ? text : this.#files.shown(text);
  }

  async #redacted<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (thrown) {
      const error = orDiskFull(thrown, "adapters folder");
      if (!(error instanceof ToastError)) throw error;
      throw new ToastError(error.code, this.#shown(error.message), { param: error.param, cause: error });
    }
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#last.catch(() => {}).then(work);
    this.#last = turn;
    return turn;
  }
}

function originOf(entry: Entry | undefined): AdapterOrigin {
  if (entry === undefined) return "model_folder";
  return entry.candidate.kind === "uploaded" ? "upload" : "watched_folder";
}

function taken(model: string, name: string): ToastError {
  return new ToastError(
    "adapter_exists",
    `The model '${model}' has an adapter '${name}' already. Remove that one first, or choose another name.`,
    { param: "name" },
  );
}

/** The hash of the backbone that it says it was made for. */
async function backboneOf({ kind, path }: AdapterCandidate): Promise<string> {
  if (kind !== "trained") return (await readAdapterManifest(path)).backboneSha256;
  return readBackboneHash(path);
}
