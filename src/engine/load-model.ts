import { join } from "node:path";
import { Adapter } from "../model/adapter.js";
import { Decoder } from "../model/decoder.js";
import { type ModelFolder, readModelFolder, verifyModelFolder } from "../model/model-folder.js";
import { Tokenizer } from "../text/tokenizer.js";

/** Everything of one model folder, in memory and checked. */
export interface LoadedModel {
  readonly folder: ModelFolder;
  readonly decoder: Decoder;
  /** By name. */
  readonly adapters: ReadonlyMap<string, Adapter>;
  readonly tokenizer: Tokenizer;
}

/**
 * @param options.threads threads of one forward; undefined: onnxruntime's choice.
 * @param onProgress called with what is being done and the share of loading behind it.
 * @throws ToastError when the folder cannot be read, verified or loaded
 */
export async function loadModel(
  path: string,
  options: { readonly threads?: number | undefined },
  onProgress: (stage: string, fraction: number) => void,
): Promise<LoadedModel> {
  onProgress("reading manifest", 0);
  const folder = await readModelFolder(path);
  await verifyModelFolder(folder, (done, total) => onProgress("verifying files", total === 0 ? 0 : done / total / 2));
  const { manifest } = folder;
  onProgress("loading decoder", 0.5);
  const decoder = await Decoder.load(join(folder.path, manifest.files.graph.name), manifest.architecture, options);
  const adapters = new Map<string, Adapter>();
  for (const [index, adapter] of folder.adapters.entries()) {
    onProgress(`loading adapter ${adapter.manifest.name}`, 0.8 + (0.1 * index) / folder.adapters.length);
    const graph = join(adapter.path, adapter.manifest.files.graph.name);
    adapters.set(adapter.manifest.name, await Adapter.load(graph, adapter.manifest, { threads: 1 }));
  }
  onProgress("loading tokenizer", 0.9);
  const tokenizer = await Tokenizer.fromFile(join(folder.path, manifest.files.tokenizer.name));
  onProgress("warming up", 0.95);
  await warmUp(decoder, adapters);
  onProgress("ready", 1);
  return { folder, decoder, adapters, tokenizer };
}

export async function releaseModel({ decoder, adapters }: LoadedModel): Promise<void> {
  await decoder.release();
  for (const adapter of adapters.values()) await adapter.release();
}

/** One small forward of each graph: memory is mapped and threads are up before the first request. */
async function warmUp(decoder: Decoder, adapters: ReadonlyMap<string, Adapter>): Promise<void> {
  const { architecture, cache } = decoder;
  const lane = cache.allocate("bottomUp");
  const [result] = await decoder.step([{ pass: "bottomUp", lane, tokenIds: [0], output: "hiddenStates" }]);
  cache.release(lane);
  if (result?.output !== "hiddenStates") return;
  const gains = new Float32Array(architecture.layers).fill(1);
  for (const adapter of adapters.values()) await adapter.topDown(result.hiddenStates, gains);
}
