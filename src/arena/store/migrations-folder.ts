import { fileURLToPath } from "node:url";

/** Beside `src/` and `dist/` alike. */
export function migrationsFolder(kind: "postgres" | "sqlite"): string {
  return fileURLToPath(new URL(`../../../migrations/${kind}`, import.meta.url));
}
