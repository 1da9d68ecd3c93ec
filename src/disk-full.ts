const codes: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** Whether a write failed for want of room: of the disk, of a quota, or of a limit on files (RLIMIT_FSIZE). */
export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && codes.has(error.code);
}
