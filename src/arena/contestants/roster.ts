import { readFile } from "node:fs/promises";
import { z } from "zod";
import { ToastError } from "../../errors.js";
import { Contestant, type OwnServer, type RemoteEntry, type ServedEntry, type SteeringChoice } from "./contestant.js";
import { readStack, spellStack } from "./stack-spelling.js";

/** What the operator configured beside the served models. */
export type RosterEntry =
  | ({ readonly kind: "remote" } & RemoteEntry)
  | ({ readonly kind: "served" } & ServedEntry)
  /** Keeps a served model out of random pairs, or names it for people. */
  | ({ readonly kind: "override" } & Pick<ServedEntry, "id" | "label" | "arena">);

const id = z.string().regex(/^[\w.:@/+-]{1,200}$/, "must be 1 to 200 letters, digits or one of . : @ / + _ -");
const system = z
  .string()
  .refine((text) => text.trim() !== "", "must not be empty: it is what stands before every conversation.")
  .optional();
const common = { id, label: z.string().min(1).max(200).optional(), arena: z.boolean().default(true) };
const remote = z.strictObject({
  ...common,
  url: z.url({ protocol: /^https?$/, error: "must be an http or https URL such as http://localhost:11434/v1" }),
  model: z.string().min(1),
  system,
  api_key_env: z.string().min(1).optional(),
  template: z.enum(["alpaca", "vicuna"]).optional(),
});
const served = (steering: z.ZodType<SteeringChoice>) =>
  z.strictObject({ ...common, model: z.string().min(1), steering: steering.optional(), system });
const override = z.strictObject(common);

/**
 * Reads `--contestants <file>`: a JSON array. An entry with a `url` is a model behind that URL; one with a `model` only
 * is a served model, steered as `steering` says; one with neither speaks of the served model of that id. A text is a
 * served model with what steers it, spelled as on the command line. `system` stands before every conversation.
 * @param steering what a request's steering may be.
 * @throws ToastError `invalid_config`, naming the entry and key at fault.
 */
export async function readRoster(
  path: string,
  environment: NodeJS.ProcessEnv,
  steering: z.ZodType<SteeringChoice>,
): Promise<readonly RosterEntry[]> {
  const text = await readFile(path, "utf8").catch((cause) => {
    throw new ToastError("file_missing", `The file of contestants ${path} cannot be read.`, { cause });
  });
  let json: unknown;
  try {
    json = JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new ToastError("invalid_config", `${path} is not valid JSON: ${(cause as Error).message}.`, { cause });
  }
  if (!Array.isArray(json)) {
    throw new ToastError("invalid_config", `${path} must hold a JSON array of contestants.`);
  }
  const entries = json.map((value, index) =>
    parseEntry(value, `Contestant ${index + 1} of ${path}`, environment, steering),
  );
  const twice = entries.find((entry, index) => entries.findIndex((other) => other.id === entry.id) < index);
  if (twice !== undefined) {
    throw new ToastError("invalid_config", `${path} has two contestants of the id '${twice.id}'.`);
  }
  return entries;
}

function parseEntry(
  value: unknown,
  where: string,
  environment: NodeJS.ProcessEnv,
  steering: z.ZodType<SteeringChoice>,
): RosterEntry {
  if (typeof value === "string") return spelledEntry(value, where, steering);
  const keys = typeof value === "object" && value !== null ? Object.keys(value) : [];
  if (keys.includes("url")) {
    const { id, label, url, model, system, api_key_env, template, arena } = checked(remote, value, where);
    const apiKey = api_key_env === undefined ? null : environment[api_key_env];
    if (apiKey === undefined || apiKey === "") {
      const message = `${where}: the environment variable ${api_key_env}, which should hold its API key, is not set.`;
      throw new ToastError("invalid_config", message);
    }
    const common = { id, label: label ?? id, system: system ?? null, arena };
    return { kind: "remote", ...common, url, model, apiKey, template: template ?? null };
  }
  if (keys.includes("model")) {
    const { id, label, model, steering: choice, system, arena } = checked(served(steering), value, where);
    const common = { id, label: label ?? id, system: system ?? null, arena };
    return { kind: "served", ...common, model, steering: choice ?? null };
  }
  const { id, label, arena } = checked(override, value, where);
  return { kind: "override", id, label: label ?? id, arena };
}

function spelledEntry(word: string, where: string, steering: z.ZodType<SteeringChoice>): RosterEntry {
  checked(id, word, where);
  try {
    return { kind: "served", id: word, label: word, system: null, arena: true, ...readStack(word, steering) };
  } catch (error) {
    if (!(error instanceof ToastError)) throw error;
    throw new ToastError("invalid_config", `${where}: ${error.message}`);
  }
}

function checked<Value>(schema: z.ZodType<Value>, value: unknown, where: string): Value {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path.join(".") ?? "";
  throw new ToastError(
    "invalid_config",
    `${where}: ${path === "" ? "" : `'${path}': `}${(issue?.message ?? "not valid").replace(/\.$/, "")}.`,
  );
}

/** Everybody who can be compared. Served models are looked up each time: adapters come and go. */
export class Roster {
  readonly #entries: readonly RosterEntry[];
  readonly #own: OwnServer;
  readonly #steering: z.ZodType<SteeringChoice>;

  /** @param steering what a request's steering may be. */
  constructor(entries: readonly RosterEntry[], own: OwnServer, steering: z.ZodType<SteeringChoice>) {
    this.#entries = entries;
    this.#own = own;
    this.#steering = steering;
  }

  get contestants(): readonly Contestant[] {
    const named = new Map(this.#entries.map((entry) => [entry.id, entry]));
    const served = this.#own
      .models()
      .filter(({ id }) => (named.get(id)?.kind ?? "override") === "override")
      .map(({ id }) => {
        const { label = id, arena = true } = named.get(id) ?? {};
        return Contestant.served({ id, label, model: id, steering: null, system: null, arena }, this.#own);
      });
    const configured = this.#entries
      .filter((entry) => entry.kind !== "override")
      .map((entry) => (entry.kind === "remote" ? Contestant.remote(entry) : Contestant.served(entry, this.#own)));
    return [...served, ...configured];
  }

  /**
   * @param id of somebody who is listed, or a served model with what steers it, spelled as on the command line.
   * @throws ToastError `contestant_not_found`, `invalid_request`
   */
  find(id: string): Contestant {
    const { contestants } = this;
    const found = contestants.find((contestant) => contestant.id === id) ?? this.#spelled(id, contestants);
    if (found !== null) return found;
    const known = contestants.map((contestant) => contestant.id).join(", ");
    throw new ToastError("contestant_not_found", `There is no contestant '${id.slice(0, 100)}'. There are: ${known}.`, {
      param: "contestants",
    });
  }

  /** @returns the stack under the one word that all its spellings have; null for what is none of a served model. */
  #spelled(word: string, listed: readonly Contestant[]): Contestant | null {
    if (!/[@+]/.test(word)) return null;
    const refused = (message: string) => new ToastError("invalid_request", message, { param: "contestants" });
    const checkedId = id.safeParse(word);
    if (!checkedId.success) throw refused(`A contestant's id ${checkedId.error.issues[0]?.message}.`);
    let stack: ReturnType<typeof readStack>;
    try {
      stack = readStack(word, this.#steering);
    } catch (error) {
      throw error instanceof ToastError ? refused(error.message) : error;
    }
    const { model, steering } = stack;
    const served = this.#own.models().find((one) => one.id === model);
    if (served === undefined || steering === null) return null;
    const known = served.base.vectors.map(({ name }) => name);
    const missing = steering.vectors?.find(({ name }) => !known.includes(name));
    if (missing !== undefined) {
      throw refused(`${model} has no control vector '${missing.name}'. It has: ${known.join(", ") || "none"}.`);
    }
    const spelled = spellStack(stack);
    const same = listed.find((contestant) => contestant.id === spelled);
    const entry = { id: spelled, label: spelled, model, steering, system: null, arena: false };
    return same ?? Contestant.served(entry, this.#own);
  }
}
