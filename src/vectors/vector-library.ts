import { randomUUID } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { hostOf, type ModelHost, modelOf, readyHosts } from "../adapters/adapter-hosts.js";
import type { AdapterLog } from "../adapters/adapter-library.js";
import { WatchedFolder } from "../adapters/watched-folder.js";
import { isDiskFull, orDiskFull } from "../disk-full.js";
import { modelIn } from "../engine/engine.js";
import type { ModelInfo, VectorInfo } from "../engine/model-info.js";
import { ToastError } from "../errors.js";
import { linkedAbort } from "../linked-abort.js";
import { readBackboneManifest } from "../model/model-folder.js";
import { checkControlVector } from "../steering/control-vector.js";
import type { LayerRange } from "../steering/steering.js";
import { checkLayers, makeDirections, usualLayers } from "./making/make-directions.js";
import { recommendedRange, type SweepStep, sweepStrength } from "./making/sweep.js";
import { checkSides, type MakingEngine, sidePrompts, type VectorSides } from "./making/vector-recipe.js";
import {
  noDetails,
  readVectorFile,
  type VectorDetails,
  type VectorFile,
  type VectorMethod,
  writeVectorFile,
} from "./vector-file.js";
import { type VectorCandidate, VectorFiles, vectorsOfModel } from "./vector-files.js";

/** An engine, as far as control vectors go. */
export type VectorHost = ModelHost & MakingEngine;

/** A control vector that requests can name. */
export interface ServedVector {
  readonly model: ModelInfo;
  readonly info: VectorInfo;
  readonly details: VectorDetails;
  /** `model_folder`: it came with the model. `upload`: it was sent to this server, or made by it. */
  readonly origin: VectorCandidate["origin"];
  /** Its file. */
  readonly path: string;
}

/** What a vector is to be made of. */
export interface VectorRecipe {
  /** Null: the only one there is. */
  readonly model: string | null;
  readonly name: string;
  readonly sides: VectorSides;
  readonly method: VectorMethod;
  /** Null: the usual ones of the model's depth. */
  readonly layers: LayerRange | null;
  readonly description: string | null;
  readonly examplePrompt: string | null;
  /** Whether strengths are tried, for the recommended range. */
  readonly sweep: boolean;
}

export interface MakingProgress {
  readonly stage: "reading" | "sweeping";
  readonly done: number;
  readonly total: number;
}

/** Files that are not served, and why. */
export interface VectorProblem {
  readonly path: string;
  readonly message: string;
}

export interface VectorLibraryOptions {
  /** May grow until `start`. */
  readonly hosts: readonly VectorHost[];
  /** Watched, and where vectors are kept that are sent or made. Made by the first of them. */
  readonly directory: string;
  readonly log: AdapterLog;
}

interface Entry {
  candidate: VectorCandidate;
  /** Null: it could not be read. */
  file: VectorFile | null;
  readonly hosts: Set<VectorHost>;
  problem: string | null;
}

/** Vectors that are being made at the same time: each asks for hundreds of short forwards. */
const mostMakings = 2;

/**
 * The control vectors of all models of a process while it runs: those of the model folders, of a folder that is
 * watched, and those
 * that clients send or have made. Knows no HTTP.
 */
export class VectorLibrary {
  readonly #options: VectorLibraryOptions;
  readonly #files: VectorFiles;
  readonly #watched: WatchedFolder<VectorCandidate>;
  readonly #entries = new Map<string, Entry>();
  /** `model:name` of those that are on their way. */
  readonly #reserved = new Set<string>();
  readonly #stop = new AbortController();
  #makings = 0;
  /** What changes entries happens one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: VectorLibraryOptions) {
    this.#options = options;
    this.#files = new VectorFiles(options.directory);
    this.#watched = new WatchedFolder(this.#files);
  }

  /** What is served now, model by model. */
  get served(): readonly ServedVector[] {
    return readyHosts(this.#options.hosts).flatMap((host) =>
      [...this.#entries.values()].flatMap((entry) => this.#servedBy(host, entry) ?? []),
    );
  }

  get problems(): readonly VectorProblem[] {
    return [...this.#entries.values()].flatMap(({ candidate, problem }) =>
      problem === null ? [] : [{ path: this.#placeOf(candidate), message: problem }],
    );
  }

  /** @throws ToastError `model_not_found` */
  find(model: string, name: string): ServedVector {
    const found = this.served.find((one) => one.model.id === model && one.info.name === name);
    if (found !== undefined) return found;
    const message = `The model '${model.slice(0, 100)}' has no control vector '${name.slice(0, 100)}'. See GET /v1/vectors.`;
    throw new ToastError("model_not_found", message, { param: "name" });
  }

  /**
   * Loads what came with the models and what is in the folder, then watches that. To be called when no engine loads
   * any more.
   */
  async start(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    for (const host of readyHosts(this.#options.hosts)) {
      const candidates = await vectorsOfModel(host.folder, modelOf(host).id);
      await this.#inTurn(async () => {
        for (const candidate of candidates) await this.#load(candidate);
      });
    }
    await this.#files.sweep(Date.now());
    await this.rescan("at once");
    this.#watched.start(() =>
      this.rescan("settled").catch((error: unknown) =>
        this.#options.log.error(`The vectors folder could not be read: ${String(error)}`),
      ),
    );
  }

  /** Ends the watching and what is being made. */
  async stop(): Promise<void> {
    this.#stop.abort(new ToastError("server_draining", "The server is shutting down."));
    this.#watched.stop();
    await Promise.allSettled([this.#last]);
  }

  /**
   * Brings what is served in line with the folder.
   * @param changes `settled`: files that changed since the last look may still be written to, and wait for the next
   *   one.
   */
  rescan(changes: "at once" | "settled"): Promise<void> {
    return this.#inTurn(async () => {
      const { gone, changed } = await this.#watched.look(changes);
      for (const path of gone) await this.#drop(path);
      for (const candidate of changed) {
        if (this.#stop.signal.aborted) return;
        await this.#load(candidate);
      }
    });
  }

  /** A new place for files that arrive, inside the vectors folder. @throws ToastError `write_failed` */
  async openIncoming(): Promise<{ readonly folder: string; remove(): Promise<void> }> {
    const folder = this.#files.incoming(randomUUID());
    await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
      if (isDiskFull(cause)) throw orDiskFull(cause, "vectors folder");
      throw new ToastError("write_failed", "This server's vectors folder cannot be written to.", { cause });
    });
    return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
  }

  /**
   * Takes a file in: checks it, keeps it for the next start, serves it.
   * @param path in a place of `openIncoming`; it is moved.
   * @throws ToastError `invalid_vector`, `vector_exists`, `model_not_found`, `invalid_request`; nothing of it is left
   *   then.
   */
  async add(model: string | null, name: string, path: string): Promise<ServedVector> {
    const host = this.#hostOf(model);
    return this.#reserve(host, name, async () => {
      const file = await this.#read(path);
      await this.#checkFit(host, name, file);
      return this.#publish(host, name, path, file);
    });
  }

  /**
   * Makes a vector, keeps it for the next start, and serves it.
   * @throws ToastError `invalid_vector`, `vector_exists`, `server_overloaded`, what engines say; the signal's reason
   *   when it aborts.
   * Nothing is left then.
   */
  async make(
    recipe: VectorRecipe,
    { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: (progress: MakingProgress) => void },
  ): Promise<{ readonly vector: ServedVector; readonly sweep: readonly SweepStep[] | null }> {
    checkSides(recipe.sides);
    const host = this.#hostOf(recipe.model);
    if (this.#makings >= mostMakings) {
      throw new ToastError(
        "server_overloaded",
        `${mostMakings} vectors are being made already. Try again in a moment.`,
      );
    }
    this.#makings++;
    const { controller, unlink } = linkedAbort(signal, this.#stop.signal);
    try {
      return await this.#reserve(host, recipe.name, () => this.#make(host, recipe, controller.signal, onProgress));
    } finally {
      unlink();
      this.#makings--;
    }
  }

  async #make(
    host: VectorHost,
    recipe: VectorRecipe,
    signal: AbortSignal,
    onProgress: (progress: MakingProgress) => void,
  ): Promise<{ readonly vector: ServedVector; readonly sweep: readonly SweepStep[] | null }> {
    const model = modelOf(host);
    const layers = recipe.layers ?? usualLayers(model.layers);
    checkLayers(layers, model.layers);
    const prompts = await sidePrompts(recipe.sides, host);
    const made = await makeDirections(host, model, prompts, {
      method: recipe.method,
      layers,
      signal,
      onProgress: (done, total) => onProgress({ stage: "reading", done, total }),
    });
    const sweep = recipe.sweep
      ? await this.#tried(host, { name: `making-${randomUUID()}`, directions: made.directions }, layers, {
          signal,
          onProgress: (done, total) => onProgress({ stage: "sweeping", done, total }),
        })
      : null;
    const file: VectorFile = {
      directions: made.directions,
      details: {
        ...noDetails,
        description: recipe.description ?? describe(recipe.sides),
        examplePrompt: recipe.examplePrompt,
        recommended: sweep === null ? null : recommendedRange(sweep),
        method: recipe.method,
        normShare: digits(mean(made.layerNormShares)),
        separation: digits(mean(made.layerSeparations)),
        layerNormShares: made.layerNormShares.map(digits),
        layerSeparations: made.layerSeparations.map(digits),
        backboneSha256: (await readBackboneManifest(host.folder)).backboneSha256,
      },
    };
    signal.throwIfAborted();
    const incoming = await this.openIncoming();
    try {
      const path = join(incoming.folder, "vector.gguf");
      await writeVectorFile(path, file);
      return { vector: await this.#publish(host, recipe.name, path, file), sweep };
    } finally {
      await incoming.remove();
    }
  }

  /** Tries a vector that nobody else is to use. */
  async #tried(
    host: VectorHost,
    vector: Parameters<VectorHost["addVector"]>[0],
    layers: LayerRange,
    options: Parameters<typeof sweepStrength>[3],
  ): Promise<readonly SweepStep[]> {
    await host.addVector(vector, "add");
    try {
      return await sweepStrength(host, modelOf(host), { name: vector.name, layers }, options);
    } finally {
      // An engine that has failed has none any more.
      await host.removeVector(vector.name).catch(() => {});
    }
  }

  /**
   * Takes a vector out. New requests do not find it from now on, those that have it keep it; one that was sent or
   * made does not
   * come back, others do with the next start or when their files change.
   * @throws ToastError `model_not_found`
   */
  remove(model: string, name: string): Promise<{ readonly files: "removed" | "kept" }> {
    return this.#inTurn(async () => {
      const { path } = this.find(model, name);
      const host = hostOf(this.#options.hosts, model);
      const entry = this.#entries.get(path);
      await host.removeVector(name);
      entry?.hosts.delete(host);
      if (entry?.candidate.origin !== "upload") return { files: "kept" };
      this.#entries.delete(path);
      this.#watched.forget(path);
      await rm(path, { force: true });
      return { files: "removed" };
    });
  }

  /**
   * Gives a vector that was sent or made another name, here and for the next start. New requests find it under that
   * name only; those that have it keep it.
   * @throws ToastError `model_not_found`, `invalid_vector` for a name that cannot be served, `vector_exists`,
   *   `invalid_request` for one whose file is not this server's to rename. It keeps its name then.
   */
  rename(model: string, name: string, newName: string): Promise<ServedVector> {
    const { origin } = this.find(model, name);
    const host = hostOf(this.#options.hosts, model);
    if (origin !== "upload") throw notOurs(name, origin);
    return this.#reserve(host, newName, () =>
      this.#inTurn(async () => {
        // Others may have had their turn with it since.
        const { path } = this.find(model, name);
        const entry = this.#entries.get(path);
        const file = entry?.file ?? null;
        if (entry === undefined || file === null || entry.candidate.origin !== "upload") throw notOurs(name, origin);
        if (vectorOf(host, newName) !== undefined) throw taken(model, newName);
        const renamed = this.#files.uploadOf(model, newName);
        await rename(path, renamed);
        try {
          await host.addVector({ name: newName, directions: file.directions }, "add");
        } catch (error) {
          await rename(renamed, path);
          throw error;
        }
        this.#entries.delete(path);
        this.#watched.forget(path);
        await host.removeVector(name);
        return this.#enter(host, renamed, file);
      }),
    );
  }

  /** @throws ToastError `invalid_vector` for a name that cannot be served, `vector_exists`. */
  async #reserve<Result>(host: VectorHost, name: string, work: () => Promise<Result>): Promise<Result> {
    const model = modelOf(host);
    checkControlVector({ name, directions: new Map([[0, new Float32Array([1])]]) }, { layers: 1, hiddenSize: 1 });
    const reservation = `${model.id}:${name}`;
    if (vectorOf(host, name) !== undefined || this.#reserved.has(reservation)) throw taken(model.id, name);
    this.#reserved.add(reservation);
    try {
      return await work();
    } catch (thrown) {
      const error = orDiskFull(thrown, "vectors folder");
      if (!(error instanceof ToastError)) throw error;
      throw new ToastError(error.code, this.#shown(error.message), { param: error.param, cause: error });
    } finally {
      this.#reserved.delete(reservation);
    }
  }

  #publish(host: VectorHost, name: string, built: string, file: VectorFile): Promise<ServedVector> {
    return this.#inTurn(async () => {
      const model = modelOf(host);
      if (vectorOf(host, name) !== undefined) throw taken(model.id, name);
      const path = this.#files.uploadOf(model.id, name);
      await mkdir(dirname(path), { recursive: true });
      // Nothing that is served has this name, so what may lie there is an upload that could not be loaded.
      await rename(built, path);
      try {
        await host.addVector({ name, directions: file.directions }, "add");
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      }
      return this.#enter(host, path, file);
    });
  }

  /** Takes a kept file, whose vector the host has, into the listing. */
  async #enter(host: VectorHost, path: string, file: VectorFile): Promise<ServedVector> {
    const candidate = (await this.#files.list()).find((one) => one.path === path);
    if (candidate === undefined) throw new Error(`vector ${path} was kept and is not there`);
    const entry: Entry = { candidate, file, hosts: new Set([host]), problem: null };
    this.#entries.set(path, entry);
    this.#watched.remember(candidate);
    const served = this.#servedBy(host, entry);
    if (served === null) throw new Error(`vector ${candidate.name} was added and is not there`);
    return served;
  }

  /** Loads, or loads anew. What cannot be loaded leaves what was loaded before as it is. */
  async #load(candidate: VectorCandidate): Promise<void> {
    const { path, name } = candidate;
    const entry = this.#entries.get(path) ?? { candidate, file: null, hosts: new Set<VectorHost>(), problem: null };
    entry.candidate = candidate;
    this.#entries.set(path, entry);
    try {
      const file = await this.#read(path);
      const hosts = await this.#hostsFor(candidate, file);
      for (const host of hosts) {
        const mode = entry.hosts.has(host) ? "replace" : "add";
        if (mode === "add" && vectorOf(host, name) !== undefined) throw taken(modelOf(host).id, name);
        await host.addVector({ name, directions: file.directions }, mode);
        entry.hosts.add(host);
        this.#options.log.info(
          `Control vector ${name} of ${modelOf(host).id} is served (${this.#placeOf(candidate)}).`,
        );
      }
      entry.file = file;
      entry.problem = null;
    } catch (error) {
      entry.problem = this.#shown(error instanceof Error ? error.message : String(error));
      this.#options.log.warn(`Control vector ${this.#placeOf(candidate)} is not served: ${entry.problem}`);
    }
  }

  async #drop(path: string): Promise<void> {
    const entry = this.#entries.get(path);
    if (entry === undefined) return;
    this.#entries.delete(path);
    for (const host of entry.hosts) {
      if (modelIn(host.phase) === null) continue;
      await host.removeVector(entry.candidate.name).catch(() => {});
      const { name } = entry.candidate;
      this.#options.log.info(`Control vector ${name} of ${modelOf(host).id} is no longer served: its file is gone.`);
    }
  }

  async #read(path: string): Promise<VectorFile> {
    try {
      return await readVectorFile(path);
    } catch (error) {
      if (!(error instanceof ToastError)) throw error;
      // Where it lies for a moment is nobody's business; of a file that is damaged the reader says so by its path.
      throw new ToastError(error.code, error.message.replaceAll(path, "The file"), {
        param: error.param,
        cause: error,
      });
    }
  }

  /** @throws ToastError `invalid_vector` when no model here fits */
  async #hostsFor(candidate: VectorCandidate, file: VectorFile): Promise<readonly VectorHost[]> {
    const ready = readyHosts(this.#options.hosts);
    if (candidate.origin !== "watched_folder") {
      const host = ready.find((one) => modelOf(one).id === candidate.model);
      if (host === undefined) {
        throw new ToastError("invalid_vector", `It is for the model ${candidate.model}, which is not served now.`);
      }
      await this.#checkFit(host, candidate.name, file);
      return [host];
    }
    const fits: VectorHost[] = [];
    const refusals: unknown[] = [];
    for (const host of ready) {
      await this.#checkFit(host, candidate.name, file).then(
        () => fits.push(host),
        (error: unknown) => refusals.push(error),
      );
    }
    if (fits.length === 0 && refusals.length > 0) throw refusals[0];
    return fits;
  }

  /**
   * Whether a vector can steer a model: by its layers and width, and by the weights that it was made with where the
   * file names them.
   * @throws ToastError `invalid_vector`
   */
  async #checkFit(host: VectorHost, name: string, { directions, details }: VectorFile): Promise<void> {
    checkControlVector({ name, directions }, modelOf(host));
    const { backboneSha256: made } = details;
    if (made === null) return;
    const { backboneSha256: own } = await readBackboneManifest(host.folder);
    if (made === own) return;
    const message = `Control vector ${name} was made with backbone ${made.slice(0, 12)}, and ${modelOf(host).id} has ${own.slice(0, 12)}: it points elsewhere in other weights. Make it again with this model.`;
    throw new ToastError("invalid_vector", message, { param: "file" });
  }

  /** @throws ToastError `invalid_request`, `model_not_found`, `server_loading` */
  #hostOf(model: string | null): VectorHost {
    const { hosts } = this.#options;
    if (model !== null) return hostOf(hosts, model);
    const ready = readyHosts(hosts);
    const [only] = ready;
    if (only !== undefined && ready.length === 1) return only;
    if (only === undefined) return hostOf(hosts, "");
    const message = `'model' is missing: this server has several. Name one of ${ready.map((one) => modelOf(one).id).join(", ")}.`;
    throw new ToastError("invalid_request", message, { param: "model" });
  }

  #servedBy(host: VectorHost, { candidate, file, hosts }: Entry): ServedVector | null {
    const info = hosts.has(host) ? vectorOf(host, candidate.name) : undefined;
    if (info === undefined || file === null) return null;
    return { model: modelOf(host), info, details: file.details, origin: candidate.origin, path: candidate.path };
  }

  /** Where a file lies, as clients may know it. */
  #placeOf(candidate: VectorCandidate): string {
    const { origin, path } = candidate;
    return origin === "model_folder" ? `${candidate.model}/${basename(path)}` : this.#shown(path);
  }

  #shown(text: string): string {
    return this.#files.shown(text);
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#last.catch(() => {}).then(work);
    this.#last = turn;
    return turn;
  }
}

function vectorOf({ phase }: ModelHost, name: string): VectorInfo | undefined {
  return modelIn(phase)?.vectors.find((info) => info.name === name);
}

function taken(model: string, name: string): ToastError {
  const message = `The model '${model}' has a control vector '${name}' already. Remove that one first, or choose another name.`;
  return new ToastError("vector_exists", message, { param: "name" });
}

function notOurs(name: string, origin: ServedVector["origin"]): ToastError {
  const where = origin === "model_folder" ? "came with the model" : "is a file of the vectors folder";
  const message = `The control vector '${name}' ${where}, and its name is its file's: rename that. Only vectors that were made or sent here can be renamed by a request.`;
  return new ToastError("invalid_request", message, { param: "name" });
}

/** What stands in the file where nobody has described the vector. */
function describe(sides: VectorSides): string | null {
  if (sides.kind !== "personas") return null;
  const { positive, negative } = sides;
  return `More like ${positive.trim()}, less like ${negative.trim()}.`.slice(0, 300);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** As many as say something, and as a reader of the file gets them. */
function digits(value: number): number {
  return Number(value.toPrecision(4));
}
