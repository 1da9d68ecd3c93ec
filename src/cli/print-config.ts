import {
  type ConfigFile,
  givenSetting,
  parseServeConfig,
  type ServeFlags,
  type Setting,
  type SettingName,
  settings,
} from "../config.js";

/**
 * What `serve` would go by, as a config file with comments that say where each value comes from. Secrets are only counted.
 * @throws ToastError `invalid_option` as `serve` itself would.
 */
export function configLines(
  flags: ServeFlags,
  environment: NodeJS.ProcessEnv,
  file: ConfigFile | null,
): readonly string[] {
  parseServeConfig(flags, environment, file);
  const lines = (Object.keys(settings) as SettingName[]).map((name) => {
    const { flag, fallback, repeatable, secret }: Setting = settings[name];
    const given = givenSetting(name, flags, environment, file);
    if (given === null) return `  // "${flag}": ${fallback} (default)`;
    const { values, source } = given;
    if (secret === true) return `  // "${flag}": ${values.length} hidden, from ${source}`;
    const value = repeatable === undefined ? literal(values.at(-1) ?? "") : JSON.stringify(values);
    return `  "${flag}": ${value}, // ${source}`;
  });
  return ["{", ...lines, "}"];
}

function literal(text: string): string {
  return text === "true" || text === "false" || text === String(Number(text)) ? text : JSON.stringify(text);
}
