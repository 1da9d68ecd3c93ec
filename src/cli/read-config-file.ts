import { readFile } from "node:fs/promises";
import { extname, resolve } from "node:path";
import { closest } from "fastest-levenshtein";
import { type ParseError, parse as parseJsonc, printParseErrorCode } from "jsonc-parser";
import { parse as parseYaml } from "yaml";
import { type ConfigFile, type Setting, type SettingName, settings } from "../config.js";
import { ToastError } from "../errors.js";

const names = Object.keys(settings) as SettingName[];

/**
 * Reads a config file: `.json` and `.jsonc` with comments and trailing commas, `.yaml` and `.yml`. Its keys are the names of flags.
 * @throws ToastError `invalid_option`
 */
export async function readConfigFile(file: string): Promise<ConfigFile> {
  const path = resolve(file);
  const content = parse(await read(path), path);
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    throw new ToastError("invalid_option", `${path} must hold an object, such as {"port": 8000}.`);
  }
  const values = Object.entries(content).map(([key, value]) => [settingOf(key, path), textsOf(key, value, path)]);
  return { path, values: Object.fromEntries(values) };
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ToastError("invalid_option", `The config file cannot be read: ${reason}.`, { cause });
  }
}

function parse(text: string, path: string): unknown {
  switch (extname(path)) {
    case ".json":
    case ".jsonc": {
      const errors: ParseError[] = [];
      const content: unknown = parseJsonc(text, errors, { allowTrailingComma: true });
      const [error] = errors;
      if (error === undefined) return content;
      const line = text.slice(0, error.offset).split("\n").length;
      throw new ToastError(
        "invalid_option",
        `${path} is not JSON: ${printParseErrorCode(error.error)} in line ${line}.`,
      );
    }
    case ".yaml":
    case ".yml":
      try {
        // The failsafe schema: every value is the text that stands there; `no` and `0x10` have no second meaning.
        return parseYaml(text, { schema: "failsafe", maxAliasCount: 0 });
      } catch (cause) {
        const reason = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
        throw new ToastError("invalid_option", `${path} is not YAML: ${reason}`, { cause });
      }
    default:
      throw new ToastError("invalid_option", `${path} must end in .json, .jsonc, .yaml or .yml.`);
  }
}

function settingOf(key: string, path: string): SettingName {
  const found = names.find((name) => settings[name].flag === key);
  if (found !== undefined) return found;
  const nearest = closest(
    key,
    names.map((name) => settings[name].flag),
  );
  throw new ToastError("invalid_option", `${path} has '${key}', which is no setting. Did you mean '${nearest}'?`);
}

function textsOf(key: string, value: unknown, path: string): readonly string[] {
  const setting = Object.values<Setting>(settings).find(({ flag }) => flag === key);
  const texts = setting?.repeatable !== undefined && Array.isArray(value) ? value : [value];
  return texts.map((text: unknown) => {
    if (typeof text === "string" || typeof text === "number" || typeof text === "boolean") return String(text);
    const list = setting?.repeatable === undefined ? "" : ", or a list of such";
    throw new ToastError("invalid_option", `'${key}' of ${path} must be text, a number, true or false${list}.`);
  });
}
