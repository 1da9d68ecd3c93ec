import { readFile } from "node:fs/promises";
import { z } from "zod";
import { ToastError } from "../../errors.js";
import { writeWholeFile } from "../../write-whole-file.js";
import { keyRoles, type StoredKey } from "./key-ring.js";

const storedKey = z.strictObject({
  name: z.string().min(1).max(64),
  role: z.enum(keyRoles),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  created: z.string(),
});

const keyFile = z.strictObject({
  version: z.literal(1),
  keys: z
    .array(storedKey)
    .refine((keys) => new Set(keys.map(({ name }) => name)).size === keys.length, "two keys have one name"),
});

/**
 * The keys of a file that `toast-serve keys` wrote.
 * @throws ToastError `file_missing`, `invalid_config`
 */
export async function readKeyFile(path: string): Promise<readonly StoredKey[]> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw new ToastError(
      "file_missing",
      `The keys file ${path} cannot be read. 'toast-serve keys create <name> --file ${path}' makes one.`,
      { cause },
    );
  }
  return parseKeyFile(text, path);
}

function parseKeyFile(text: string, path: string): readonly StoredKey[] {
  try {
    return keyFile.parse(JSON.parse(text)).keys;
  } catch (cause) {
    const issue = cause instanceof z.ZodError ? cause.issues[0] : undefined;
    const where = issue === undefined ? "it is not JSON" : `${issue.path.join(".") || "its top"}: ${issue.message}`;
    throw new ToastError("invalid_config", `${path} is not a file of keys: ${where}.`, { cause });
  }
}

/**
 * Readable by its owner alone; a server that reads it meanwhile sees the old keys or the new ones.
 * @throws ToastError `write_failed`
 */
export function writeKeyFile(path: string, keys: readonly StoredKey[]): Promise<void> {
  const text = `${JSON.stringify({ version: 1, keys }, null, 2)}\n`;
  return writeWholeFile(path, text, { mode: 0o600, name: `The keys file ${path}` });
}
