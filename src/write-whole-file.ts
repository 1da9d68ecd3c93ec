import { randomUUID } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { ToastError } from "./errors.js";

export interface WholeFileOptions {
  /** Permissions of the file. Default: as the process makes files. */
  readonly mode?: number;
  /** What the file is called in an error. Default: its path. */
  readonly name?: string;
}

/**
 * Replaces a file as a whole: whoever reads it meanwhile, or after a power cut, has the old text or the new one.
 * @throws ToastError `write_failed`; nothing is left beside the file then.
 */
export async function writeWholeFile(
  path: string,
  text: string,
  { mode, name = path }: WholeFileOptions = {},
): Promise<void> {
  // A name that nobody else comes upon: process ids repeat from container to container.
  const draft = `${path}.${randomUUID()}.tmp`;
  try {
    const file = await open(draft, "wx", mode);
    try {
      await file.writeFile(text);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (cause) {
    await rm(draft, { force: true });
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ToastError("write_failed", `${name} cannot be written: ${reason}.`, { cause });
  }
}
