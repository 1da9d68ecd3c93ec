import { existsSync } from "node:fs";
import { join } from "node:path";
import { modelFolders } from "../app.js";
import { RecordedAnswers } from "../arena/batch/recorded-answers.js";
import type { BatchContestant } from "../arena/batch/run-batch.js";
import { Contestant, type OwnServer } from "../arena/contestants/contestant.js";
import { Roster, type RosterEntry, readRoster } from "../arena/contestants/roster.js";
import { EngineRegistry } from "../engine/engine-registry.js";
import { EngineClient } from "../engine/thread/engine-client.js";
import { ToastError } from "../errors.js";
import { manifestFileName, readModelFolder } from "../model/model-folder.js";
import { steeringChoice } from "../openai/steering-field.js";
import { ownServer } from "../server/arena/own-server.js";
import { parseServeConfig } from "../settings/serve-config.js";
import type { Terminal } from "./terminal.js";

export interface ContestantFlags {
  readonly contestants?: string;
  readonly modelsDir?: string;
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
      readonly strength: number | null;
    }
  | { readonly kind: "id"; readonly id: string; readonly strength: number | null };

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
  const named = words.map(namedBy);
  const roster =
    flags.contestants === undefined ? [] : await readRoster(flags.contestants, terminal.environment, steeringChoice);
  const folders = await foldersOf(named, roster, flags, terminal.environment);
  const engines = folders.map(
    (folder) =>
      new EngineClient({
        folder,
        threads: flags.threads,
        onPhase: (phase) => onStage(phase.kind === "loading" ? phase.stage : phase.kind),
      }),
  );
  const close = async () => {
    await Promise.all(engines.map((engine) => engine.close()));
  };
  try {
    await Promise.all(engines.map((engine) => engine.ready()));
    const registry = new EngineRegistry(engines);
    const own = ownServer(registry, (_, error) => terminal.err(String(error)));
    const everybody = new Roster(roster, own);
    const opened: BatchContestant[] = [];
    for (const one of named) opened.push(await open(one, everybody, engines, registry, own, terminal.environment));
    return { opened, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function namedBy(word: string): Named {
  const url = /^(https?:\/\/[^#]+)#(.+)$/.exec(word);
  if (url?.[1] !== undefined && url[2] !== undefined) return { kind: "url", url: url[1], model: url[2] };
  if (/^https?:/.test(word)) {
    throw new ToastError("invalid_option", `${word} does not say which model: write ${word}#model.`);
  }
  if (/\.(jsonl|json|json\.xz|jsonl\.xz)$/.test(word)) return { kind: "recorded", path: word };
  const [, name = word, strengthText] = /^(.*?)(?:@(\d+(?:\.\d+)?))?$/.exec(word) ?? [];
  const strength = strengthText === undefined ? null : Number(strengthText);
  if (existsSync(join(name, manifestFileName))) return { kind: "folder", folder: name, adapter: null, strength };
  const colon = name.lastIndexOf(":");
  const folder = name.slice(0, colon);
  if (colon > 0 && existsSync(join(folder, manifestFileName))) {
    return { kind: "folder", folder, adapter: name.slice(colon + 1), strength };
  }
  return { kind: "id", id: name, strength };
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
    const entry = roster.find(({ id }) => id === one.id);
    return entry?.kind === "remote" ? [] : [entry?.kind === "served" ? entry.model : one.id];
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
      return live(Contestant.remote({ id: model, label: model, url, model, apiKey, template: null, arena: true }), url);
    }
    case "folder": {
      const engine = engines.find(({ folder }) => folder === named.folder);
      const base = await engine?.ready();
      const id = named.adapter === null ? (base?.id ?? "") : `${base?.id}:${named.adapter}`;
      return served(id, named.strength, registry, own);
    }
    case "id": {
      const found = roster.find(named.id);
      if (found.kind === "served" && found.id === found.model) return served(named.id, named.strength, registry, own);
      return live(found, "");
    }
  }
}

function served(id: string, strength: number | null, registry: EngineRegistry, own: OwnServer): BatchContestant {
  const { model } = registry.resolve(id);
  const steering = strength === null ? null : { strength };
  const name = strength === null ? id : `${id}@${strength}`;
  const contestant = Contestant.served({ id: name, label: name, model: id, steering, arena: true }, own);
  const hashes = [model.base.fingerprint, ...model.base.adapters.map(({ fingerprint }) => fingerprint)];
  return live(contestant, hashes.join());
}

function live(contestant: Contestant, more: string): BatchContestant {
  const { kind, model, steering, template } = contestant;
  return { kind: "live", contestant, identity: JSON.stringify([kind, model, steering, template, more]) };
}
