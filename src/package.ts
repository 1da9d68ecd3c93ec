import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";

/** The folder of this package, with package.json; beside `src/` and `dist/` alike. */
export const packageFolder = fileURLToPath(new URL("../", import.meta.url));

export function packageVersion(): string {
  const text = readFileSync(join(packageFolder, "package.json"), "utf8");
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}
