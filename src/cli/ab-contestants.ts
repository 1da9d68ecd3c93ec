import { existsSync } from "node:fs";
import { join } from "node:path";
import { modelFolders } from "../app.js";
import { RecordedAnswers } from "../arena/batch/recorded-answers.js";
import type { BatchContestant } from "../arena/batch/run-batch.js";
import { Contestant, type OwnServer, type SteeringChoice } from "../arena/contestants/contestant.js";
import { Roster, type RosterEntry, readRoster } from "../arena/contestants/roster.js";
import { readStack, type SpelledStack, spellStack } from "../arena/contestants/stack-spelling.js";
import { EngineRegistry } from "../engine/engine-registry.js";
import { EngineClient } from "../engine/thread/engine-client.js";
import { ToastError } from "../errors.js";
import { manifestFileName, readModelFolder } from "../model/model-folder.js";
import { checkSteering, steeringChoice } from "../openai/steering-field.js";
import { ownServer } from "../server/arena/own-server.js";
import { parseServeConfig } from "../settings/serve-config.js";
import { VectorLibrary } from "../vectors/vector-library.js";
import type { Terminal } from "./terminal.js";

export interface ContestantFlags {
  readonly contestants?: string;
  readonly modelsDir?: string;
  readonly vectorsDir?: string;
  readonly threads?: number;
}

/** Those of one command, and the engines that they need. */
export interface OpenedContestants {
  readonly opened: readonly BatchContestant[];
  close(): Promise<void>;
}

/** What a word of the command line names. */
type Named =
  | { readonly kind: "recorded"; readonly path: string }
  | { readonly kind: "url"; readonly url: string; readonly model: string }
  | {
      readonly kind: "folder";
      readonly folder: string;
      readonly adapter: string | null;
      readonly steering: SteeringChoice | null;
    }
  /** Of --contestants, or a served model with what steers it. */
  | { readonly kind: "id"; readonly word: string; readonly stack: SpelledStack };

/**
 * @param words as `--left`, `--right` and `--judge` give them.
 * @throws ToastError `invalid_option` for what is none of these, and whatever loading throws.
 */
export async function openContestants(
  words: readonly string[],
  flags: ContestantFlags,
  terminal: Terminal,
  onStage: (stage: string) => void,
): Promise<OpenedContestants> {
  const roster =
    flags.contestants === undefined ? [] : await readRoster(flags.contestants, terminal.environment, steeringChoice);
  const named = words.map((word) => namedBy(word, roster));
  const folders = await foldersOf(named, roster, flags, terminal.environment);
  const engines = folders.map(
    (folder) =>
      new EngineClient({
        folder,
        threads: flags.threads,
        onPhase: (phase) => onStage(phase.kind === "loading" ? phase.stage : phase.kind),
      }),
  );
  const { vectorsDir, dataDir } = parseServeConfig({ "vectors-dir": flags.vectorsDir }, terminal.environment);
  const report = (message: string) => terminal.err(message);
  const vectors = new VectorLibrary({
    hosts: engines,
    directory: vectorsDir ?? join(dataDir, "vectors"),
    log: { info: () => {}, warn: report, error: report },
  });
  const close = async () => {
    await vectors.stop();
    await Promise.all(engines.map((engine) => engine.close()));
  };
  try {
    await Promise.all(engines.map((engine) => engine.ready()));
    if (engines.length > 0) await vectors.start();
    const registry = new EngineRegistry(engines);
    const own = ownServer(registry, (_, error) => terminal.err(String(error)));
    const everybody = new Roster(roster, own, steeringChoice);
    const opened: BatchContestant[] = [];
    for (const one of named) opened.push(await open(one, everybody, engines, registry, own, terminal.environment));
    return { opened, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function namedBy(word: string, roster: readonly RosterEntry[]): Named {
  const url = /^(https?:\/\/[^#]+)#(.+)$/.exec(word);
  if (url?.[1] !== undefined && url[2] !== undefined) return { kind: "url", url: url[1], model: url[2] };
  if (/^https?:/.test(word)) {
    throw new ToastError("invalid_option", `${word} does not say which model: write ${word}#model.`);
  }
  if (/\.(jsonl|json|json\.xz|jsonl\.xz)$/.test(word)) return { kind: "recorded", path: word };
  if (roster.some(({ id }) => id === word)) return { kind: "id", word, stack: { model: word, steering: null } };
  const stack = readStack(word, steeringChoice);
  const entry = roster.find(({ id, kind }) => id === stack.model && kind !== "override");
  if (entry !== undefined) {
    const message = `'${entry.id}' is an entry of --contestants: say there what steers it, and only '${entry.id}' here.`;
    throw new ToastError("invalid_option", message);
  }
  // A folder's name may have a plus in it.
  return folderOf({ model: word, steering: null }) ?? folderOf(stack) ?? { kind: "id", word, stack };
}

function folderOf({ model, steering }: SpelledStack): Extract<Named, { kind: "folder" }> | null {
  if (existsSync(join(model, manifestFileName))) return { kind: "folder", folder: model, adapter: null, steering };
  const colon = model.lastIndexOf(":");
  const folder = model.slice(0, colon);
  if (colon <= 0 || !existsSync(join(folder, manifestFileName))) return null;
  return { kind: "folder", folder, adapter: model.slice(colon + 1), steering };
}

/** Only what is asked for is loaded: a model may be large. */
async function foldersOf(
  named: readonly Named[],
  roster: readonly RosterEntry[],
  { modelsDir }: ContestantFlags,
  environment: NodeJS.ProcessEnv,
): Promise<readonly string[]> {
  const folders = new Set(named.flatMap((one) => (one.kind === "folder" ? [one.folder] : [])));
  const ids = named.flatMap((one) => {
    if (one.kind !== "id") return [];
    const entry = roster.find(({ id }) => id === one.word);
    return entry?.kind === "remote" ? [] : [entry?.kind === "served" ? entry.model : one.stack.model];
  });
  if (ids.length === 0) return [...folders];
  const config = parseServeConfig({ "models-dir": modelsDir }, environment);
  const available = await Promise.all(
    (await modelFolders(config)).map(async (folder) => ({ folder, id: (await readModelFolder(folder)).manifest.id })),
  );
  for (const id of ids) {
    const found = available.find((one) => id === one.id || id.startsWith(`${one.id}:`));
    if (found === undefined) {
      const known = available.map((one) => one.id).join(", ");
      throw new ToastError(
        "invalid_option",
        `'${id}' is no model of ${config.modelsDir} (${known}), no model folder, no file of recorded answers (.jsonl, .json, .json.xz), no URL#model and no id of --contestants.`,
      );
    }
    folders.add(found.folder);
  }
  return [...folders];
}

async function open(
  named: Named,
  roster: Roster,
  engines: readonly EngineClient[],
  registry: EngineRegistry,
  own: OwnServer,
  environment: NodeJS.ProcessEnv,
): Promise<BatchContestant> {
  switch (named.kind) {
    case "recorded":
      return { kind: "recorded", answers: await RecordedAnswers.read(named.path) };
    case "url": {
      const { OPENAI_API_KEY: apiKey = null } = environment;
      const { url, model } = named;
      const more = { template: null, system: null, arena: true };
      return live(Contestant.remote({ id: model, label: model, url, model, apiKey, ...more }), url);
    }
    case "folder": {
      const engine = engines.find(({ folder }) => folder === named.folder);
      const base = await engine?.ready();
      const model = named.adapter === null ? (base?.id ?? "") : `${base?.id}:${named.adapter}`;
      return served(contestantOf({ model, steering: named.steering }, own), registry);
    }
    case "id": {
      const { model, steering } = named.stack;
      // An entry that only says how a served model is called leaves its steering free.
      const found = steering === null ? roster.find(named.word) : null;
      if (found?.kind === "remote") return live(found, "");
      return served(
        found === null || found.id === found.model ? contestantOf({ model, steering }, own) : found,
        registry,
      );
    }
  }
}

function contestantOf(stack: SpelledStack, own: OwnServer): Contestant {
  const name = spellStack(stack);
  return Contestant.served({ id: name, label: name, ...stack, system: null, arena: true }, own);
}

/** @throws ToastError where the model has not what is to steer it: now, and not at the first prompt. */
function served(contestant: Contestant, registry: EngineRegistry): BatchContestant {
  const { model } = registry.resolve(contestant.model);
  checkSteering(contestant.steering ?? {}, model);
  const named = new Set(contestant.steering?.vectors?.map(({ name }) => name));
  const vectors = model.base.vectors.filter(({ name }) => named.has(name));
  const parts = [model.base, ...model.base.adapters, ...vectors];
  return live(contestant, parts.map(({ fingerprint }) => fingerprint).join());
}

function live(contestant: Contestant, more: string): BatchContestant {
  const { kind, model, steering, template, system } = contestant;
  // Without a system message as ever: journals of earlier versions go on.
  const told = system === null ? [] : [system];
  return { kind: "live", contestant, identity: JSON.stringify([kind, model, steering, template, more, ...told]) };
}
