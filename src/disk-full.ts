import { ToastError } from "./errors.js";

const codes: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** Whether a write failed for want of room: of the disk, of a quota, or of a limit on files (RLIMIT_FSIZE). */
export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && codes.has(error.code);
}

/**
 * @param folder whose disk it is, in a sentence: `adapters folder`.
 * @returns `error`; for a write that failed for want of room, an error that says so.
 */
export function orDiskFull(error: unknown, folder: string): unknown {
  if (!isDiskFull(error)) return error;
  const message = `The disk of this server's ${folder} is full. Nothing was kept.`;
  return new ToastError("disk_full", message, { cause: error });
}
