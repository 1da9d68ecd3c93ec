import { isAbsolute } from "node:path";
import { ToastError } from "../errors.js";
import { findCached, type PulledModel } from "../hub/cached-model.js";
import { type ConvertedCopy, convertedCopy } from "../hub/converted-copy.js";
import { formatHubName, type HubName, parseHubName, pathOrHubName } from "../hub/hub-name.js";
import { type HubSettings, readHubSettings } from "../hub/hub-settings.js";
import { pullModel } from "../hub/pull-model.js";
import { formatTransfer } from "../hub/transfer.js";
import type { Quantization } from "../model/manifest.js";
import { packageVersion } from "../package.js";
import type { ServeConfig } from "../settings/serve-config.js";
import { progressLine } from "./progress-line.js";
import { StoppedEarly, stopSignalOfProcess } from "./stop-signal.js";
import type { Terminal } from "./terminal.js";

/** Of models that are served by name. */
export const defaultQuantization: Quantization = "int8";

/** Downloads what is not here yet, and says how far it is. */
export async function pull(
  name: HubName,
  settings: HubSettings,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<PulledModel> {
  const progress = progressLine(terminal, "Pulling");
  try {
    return await pullModel({
      ...{ name, settings, signal },
      version: packageVersion(),
      onProgress(stage, state) {
        if (state === null) progress.update(stage, 0);
        else progress.update(stage, state.total === 0 ? 0 : state.done / state.total, formatTransfer(state));
      },
      onNote(sentence) {
        progress.end();
        terminal.err(sentence);
      },
    });
  } catch (error) {
    throw stoppedEarly(error, "Stopped. What was downloaded stays; the same command goes on from there.");
  } finally {
    progress.end();
  }
}

/** Converts it unless that has been done before, and says how far it is. */
export async function convertPulled(
  model: PulledModel,
  settings: HubSettings,
  { quantize, modelId }: { readonly quantize: Quantization; readonly modelId: string },
  terminal: Terminal,
  signal: AbortSignal,
): Promise<ConvertedCopy> {
  const progress = progressLine(terminal, "Converting");
  try {
    return await convertedCopy(model, settings, {
      ...{ quantize, modelId, signal },
      onProgress: ({ stage, done, total }) => progress.update(stage, total === 0 ? 0 : done / total),
    });
  } catch (error) {
    throw stoppedEarly(error, "Stopped. The model is downloaded; the same command converts it.");
  } finally {
    progress.end();
  }
}

/** What is downloaded is gone by without a question to the hub: only `pull` looks for something newer. */
export async function localSource(
  name: HubName,
  settings: HubSettings,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<PulledModel> {
  const cached = await findCached(name, settings.cacheDir);
  return cached.kind === "found" ? cached.model : pull(name, settings, terminal, signal);
}

/**
 * The converted folder that a word means: a path, or a model of a hub, which is downloaded and converted if it has to
 * be.
 * @param stop ends that; default: SIGINT and SIGTERM.
 */
export async function localFolder(word: string, terminal: Terminal, stop?: AbortSignal): Promise<string> {
  const pathOrName = pathOrHubName(word);
  if (isAbsolute(pathOrName)) return pathOrName;
  const name = parseHubName(word);
  const settings = await readHubSettings(terminal.environment);
  const signal = stop ?? stopSignalOfProcess();
  try {
    const model = await localSource(name, settings, terminal, signal);
    const options = { quantize: defaultQuantization, modelId: name.name };
    return (await convertPulled(model, settings, options, terminal, signal)).folder;
  } catch (error) {
    // Somebody may have meant a folder.
    if (error instanceof ToastError && ["repository_not_found", "hub_unreachable"].includes(error.code)) {
      const sentence = `${error.message} There is no folder ${formatHubName(name)} here either.`;
      throw new ToastError(error.code, sentence, { cause: error });
    }
    throw error;
  }
}

/** A configuration whose models all lie here. */
export async function withLocalModels(
  config: ServeConfig,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<ServeConfig> {
  const models: string[] = [];
  for (const word of config.models) models.push(await localFolder(word, terminal, signal));
  return { ...config, models };
}

function stoppedEarly(error: unknown, sentence: string): unknown {
  return error instanceof Error && error.name === "AbortError" ? new StoppedEarly(sentence, { cause: error }) : error;
}
