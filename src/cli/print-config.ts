import {
  allSettings,
  type ConfigFile,
  fallbackWords,
  givenSetting,
  parseServeConfig,
  type ServeFlags,
} from "../settings/serve-config.js";

/**
 * What `serve` would go by, as a config file with comments that say where each value comes from. Secrets are only
 * counted.
 * @throws ToastError `invalid_option` as `serve` itself would.
 */
export function configLines(
  flags: ServeFlags,
  environment: NodeJS.ProcessEnv,
  file: ConfigFile | null,
): readonly string[] {
  parseServeConfig(flags, environment, file);
  const lines = allSettings.map((setting) => {
    const { flag, separator, secret } = setting;
    const given = givenSetting(setting, flags, environment, file);
    if (given === null) return `  // "${flag}": ${fallbackWords(setting)} (default)`;
    const { values, source } = given;
    if (secret === true) return `  // "${flag}": ${values.length} hidden, from ${source}`;
    const value = separator === null ? literal(values.at(-1) ?? "") : JSON.stringify(values);
    return `  "${flag}": ${value}, // ${source}`;
  });
  return ["{", ...lines, "}"];
}

function literal(text: string): string {
  return text === "true" || text === "false" || text === String(Number(text)) ? text : JSON.stringify(text);
}
