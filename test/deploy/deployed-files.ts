import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder } from "../../src/package.js";
import { allSettings } from "../../src/settings/serve-config.js";

/** A text of deploy/. */
export function deployed(file: string): string {
  return readFileSync(join(packageFolder, "deploy", file), "utf8");
}

const dockerfile = readFileSync(join(packageFolder, "Dockerfile"), "utf8");

/** What of the image the ways to start it go by. */
export const image = {
  /** Made for what is written. */
  writable: /mkdir ((?:\/\w+ ?)+)/.exec(dockerfile)?.[1]?.trim().split(" ") ?? [],
  port: Number(/\bPORT=(\d+)/.exec(dockerfile)?.[1]),
};

/** @returns variables and flags of a `serve` that the server does not know. */
export function unknownSettings(words: readonly string[], variables: readonly string[]): readonly string[] {
  const flags = words.filter((word) => word.startsWith("--")).map((word) => word.slice(2));
  return [
    ...(words[0] === "serve" ? [] : [`${words[0]} is not serve`]),
    ...flags.filter((flag) => !allSettings.some((one) => one.flag === flag)),
    ...variables.filter((name) => !allSettings.some(({ variable }) => variable === name)),
  ];
}

/** @returns the seconds that running answers are given. */
export function drainSeconds(words: readonly string[]): number {
  return Number(words[words.indexOf("--drain-seconds") + 1]);
}
