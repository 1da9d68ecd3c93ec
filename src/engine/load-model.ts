import { join } from "node:path";
import { ToastError } from "../errors.js";
import { Decoder } from "../model/decoder.js";
import { FinalNorm } from "../model/final-norm.js";
import type { BackboneManifest } from "../model/manifest.js";
import {
  type AdapterFolder,
  type ModelFolder,
  type OnDamaged,
  readAdapterFolder,
  readModelFolder,
  verifyAdapterFolder,
  verifyModelFolder,
} from "../model/model-folder.js";
import { Adapter } from "../steering/adapter.js";
import { Tokenizer } from "../text/tokenizer.js";

/** Everything of one model folder, in memory and checked. */
export interface LoadedModel {
  readonly folder: ModelFolder;
  readonly decoder: Decoder;
  readonly finalNorm: FinalNorm;
  /** By name. */
  readonly adapters: ReadonlyMap<string, Adapter>;
  readonly tokenizer: Tokenizer;
}

/**
 * @param options.threads threads of one forward; undefined: onnxruntime's choice.
 * @param options.onDamaged hears of adapters of the folder that cannot be used, which are left out; default: nothing of
 * the folder can be used then.
 * @param onProgress called with what is being done and the share of loading behind it.
 * @throws ToastError when the folder cannot be read, verified or loaded
 */
export async function loadModel(
  path: string,
  options: { readonly threads?: number | undefined; readonly onDamaged?: OnDamaged },
  onProgress: (stage: string, fraction: number) => void,
): Promise<LoadedModel> {
  onProgress("reading manifest", 0);
  const read = await readModelFolder(path, options.onDamaged);
  const { manifest } = read;
  await verifyModelFolder({ ...read, adapters: [] }, (done, total) =>
    onProgress("verifying files", total === 0 ? 0 : done / total / 2),
  );
  onProgress("loading decoder", 0.5);
  const decoder = await Decoder.load(join(path, manifest.files.graph.name), manifest.architecture, options);
  const finalNorm = await FinalNorm.read(path, manifest);
  const adapters = new Map<string, Adapter>();
  for (const [index, folder] of read.adapters.entries()) {
    const { name } = folder.manifest;
    onProgress(`loading adapter ${name}`, 0.8 + (0.1 * index) / read.adapters.length);
    try {
      await verifyAdapterFolder(folder);
      adapters.set(name, await triedAdapter(folder));
    } catch (error) {
      if (options.onDamaged === undefined) throw error;
      options.onDamaged(name, ToastError.from(error));
    }
  }
  onProgress("loading tokenizer", 0.9);
  const tokenizer = await Tokenizer.fromFile(join(path, manifest.files.tokenizer.name));
  onProgress("warming up", 0.95);
  await warmUp(decoder, adapters);
  onProgress("ready", 1);
  const folder = { ...read, adapters: read.adapters.filter((one) => adapters.has(one.manifest.name)) };
  return { folder, decoder, finalNorm, adapters, tokenizer };
}

export async function releaseModel({ decoder, adapters }: LoadedModel): Promise<void> {
  await decoder.release();
  for (const adapter of adapters.values()) await adapter.release();
}

/**
 * An adapter that comes while the engine runs: checked, hashed and tried out. Hashing lets steps in between its chunks;
 * only onnxruntime's reading of the graph holds them up.
 * @throws ToastError `file_missing`, `invalid_manifest`, `adapter_mismatch`, `file_hash_mismatch`, `invalid_adapter`
 * for a graph that is none of an adapter, `not_finite_weights`.
 */
export async function loadAdapter(
  path: string,
  backbone: BackboneManifest,
): Promise<{ readonly folder: AdapterFolder; readonly adapter: Adapter }> {
  const folder = await readAdapterFolder(path, backbone);
  await verifyAdapterFolder(folder);
  return { folder, adapter: await triedAdapter(folder) };
}

/** @throws ToastError `invalid_adapter`, `not_finite_weights` */
async function triedAdapter(folder: AdapterFolder): Promise<Adapter> {
  let adapter: Adapter | null = null;
  try {
    adapter = await openAdapter(folder);
    await tryOut(adapter);
    return adapter;
  } catch (cause) {
    await adapter?.release();
    if (cause instanceof ToastError && cause.code === "not_finite_weights") throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ToastError("invalid_adapter", `${folder.path} holds no adapter that can be run: ${reason}`, { cause });
  }
}

function openAdapter({ path, manifest }: AdapterFolder): Promise<Adapter> {
  return Adapter.load(join(path, manifest.files.graph.name), manifest, { threads: 1 });
}

/** One weight that is no number makes some output none, whatever goes in: zero times NaN or infinity is NaN. */
async function tryOut(adapter: Adapter): Promise<void> {
  const { layers, hiddenSize, kvSize } = adapter.manifest.shape;
  const gains = new Float32Array(layers).fill(1);
  const { relevance, topDownValues } = await adapter.topDown(new Float32Array(hiddenSize).fill(1), gains);
  if (relevance.length !== 1 || topDownValues.length !== layers * kvSize) {
    throw new Error("its outputs do not have the shapes that its manifest says");
  }
  if (!Number.isFinite(relevance[0]) || !topDownValues.every(Number.isFinite)) {
    throw new ToastError("not_finite_weights", "The adapter has weights that are NaN or infinite. Train it again.");
  }
}

/** One small forward of each graph: memory is mapped and threads are up before the first request. */
async function warmUp(decoder: Decoder, adapters: ReadonlyMap<string, Adapter>): Promise<void> {
  const { architecture, cache } = decoder;
  const lane = cache.allocate("bottomUp");
  const [result] = await decoder.step([{ lane, tokenIds: [0], logits: "none" }]);
  cache.release(lane);
  if (result === undefined) return;
  const gains = new Float32Array(architecture.layers).fill(1);
  for (const adapter of adapters.values()) await adapter.topDown(result.hiddenStates, gains);
}
