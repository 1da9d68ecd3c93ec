import { dirname } from "node:path";
import { ToastError } from "../errors.js";
import type { Setting } from "./setting.js";
import { settings } from "./settings.js";

type Settings = typeof settings;

/**
 * Everything that `serve` was told, resolved: flags win over the environment, that over the config file, that over the
 * defaults.
 */
export type ServeConfig = {
  readonly [Name in keyof Settings]: Settings[Name] extends Setting<infer Value, infer _> ? Value : never;
};

export type FlagName = Settings[keyof Settings]["flag"];
/** What the command line gave, as text in the unit of the flag. */
export type ServeFlags = { readonly [Flag in FlagName]?: string | readonly string[] | true | undefined };

/** A config file's settings as text, under the names of flags. */
export interface ConfigFile {
  readonly path: string;
  readonly values: { readonly [Flag in FlagName]?: readonly string[] };
}

/**
 * What was given for a setting, and where: `--port`, `PORT`, `'port' of toast.json`; null: nothing was, the default
 * holds.
 */
export interface GivenSetting {
  readonly values: readonly string[];
  readonly source: string;
}

export function fallbackWords({ fallback }: Setting): string {
  return typeof fallback === "string" ? fallback : fallback.words;
}

export const allSettings: readonly Setting<unknown, FlagName>[] = Object.values(settings);

/**
 * The one place where flags, environment and file are weighed. Of a setting that may be given several times the
 * strongest source has all.
 */
export function givenSetting(
  { flag, variable, separator, path }: Setting<unknown, FlagName>,
  flags: ServeFlags,
  environment: NodeJS.ProcessEnv,
  file: ConfigFile | null,
): GivenSetting | null {
  const fromFlag = flags[flag];
  if (fromFlag !== undefined) {
    return { values: fromFlag === true ? ["true"] : [fromFlag].flat(), source: `--${flag}` };
  }
  const text = environment[variable];
  // `PORT= npm start` unsets a variable in the words of a shell.
  if (text !== undefined && text !== "") {
    const values = separator === null ? [text] : text.split(separator).map((value) => value.trim());
    return { values: values.filter((value) => value !== ""), source: variable };
  }
  const fromFile = file?.values[flag];
  if (file === null || fromFile === undefined) {
    return null;
  }
  return {
    values: path === undefined ? fromFile : fromFile.map((value) => path(value, dirname(file.path))),
    source: `'${flag}' of ${file.path}`,
  };
}

/**
 * The one parse of all settings.
 * @throws ToastError `invalid_option` with a sentence that names the flag, the variable or the file's key at fault.
 */
export function parseServeConfig(
  flags: ServeFlags,
  environment: NodeJS.ProcessEnv,
  file: ConfigFile | null = null,
): ServeConfig {
  const entries = Object.entries(settings).map(([name, setting]) => {
    const given = givenSetting(setting, flags, environment, file);
    const values = given?.values.map((value) => check(setting, value, given.source)) ?? [];
    if (given !== null && setting.separator !== null) return [name, values];
    return [name, values.length > 0 ? values.at(-1) : fallbackOf(setting, environment)];
  });
  return Object.fromEntries(entries) as ServeConfig;
}

/** How a server logs. */
export type LogSettings = Pick<ServeConfig, "logLevel" | "logFormat">;

/** The same of settings that cannot be read as a whole, so that what is wrong with them is said in their log. */
export function parseLogSettings(
  flags: ServeFlags,
  environment: NodeJS.ProcessEnv,
  file: ConfigFile | null,
): LogSettings {
  const read = (setting: (typeof settings)["logLevel" | "logFormat"]): unknown => {
    try {
      const value = givenSetting(setting, flags, environment, file)?.values.at(-1);
      return value === undefined ? fallbackOf(setting, environment) : check(setting, value, setting.flag);
    } catch {
      return fallbackOf(setting, environment);
    }
  };
  return { logLevel: read(settings.logLevel), logFormat: read(settings.logFormat) } as LogSettings;
}

function fallbackOf({ schema, fallback }: Setting, environment: NodeJS.ProcessEnv): unknown {
  return typeof fallback === "string" ? schema.parse(fallback) : fallback.value(environment);
}

function check({ schema, secret }: Setting, value: string, source: string): unknown {
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    return parsed.data;
  }
  const reason = parsed.error.issues[0]?.message ?? "is not valid";
  throw new ToastError("invalid_option", `${source} ${reason}${secret === true ? "" : `; got '${value}'`}.`, {
    param: source,
  });
}
