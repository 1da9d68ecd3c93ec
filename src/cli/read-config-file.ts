import { readFile } from "node:fs/promises";
import { extname, resolve } from "node:path";
import { closest } from "fastest-levenshtein";
import { type ParseError, parse as parseJsonc, printParseErrorCode } from "jsonc-parser";
import { parse as parseYaml } from "yaml";
import { ToastError } from "../errors.js";
import { allSettings, type ConfigFile } from "../settings/serve-config.js";
import type { Setting } from "../settings/setting.js";

/**
 * Reads a config file: `.json` and `.jsonc` with comments and trailing commas, `.yaml` and `.yml`. Its keys are the
 * names of flags.
 * @throws ToastError `invalid_option`
 */
export async function readConfigFile(file: string): Promise<ConfigFile> {
  const path = resolve(file);
  const content = parse(await read(path), path);
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    throw new ToastError("invalid_option", `${path} must hold an object, such as {"port": 8000}.`);
  }
  const values = Object.entries(content).map(([key, value]) => [key, textsOf(settingOf(key, path), value, path)]);
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

function settingOf(key: string, path: string): Setting {
  const found = allSettings.find(({ flag }) => flag === key);
  if (found !== undefined) return found;
  const nearest = closest(
    key,
    allSettings.map(({ flag }) => flag),
  );
  throw new ToastError("invalid_option", `${path} has '${key}', which is no setting. Did you mean '${nearest}'?`);
}

function textsOf({ flag, separator }: Setting, value: unknown, path: string): readonly string[] {
  const texts = separator !== null && Array.isArray(value) ? value : [value];
  return texts.map((text: unknown) => {
    if (typeof text === "string" || typeof text === "number" || typeof text === "boolean") return String(text);
    const list = separator === null ? "" : ", or a list of such";
    throw new ToastError("invalid_option", `'${flag}' of ${path} must be text, a number, true or false${list}.`);
  });
}
