import { readFileSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ToastError } from "../../errors.js";

/**
 * Keeps a second process out of a folder: PGlite is Postgres for one process, and two of them would ruin its files. The
 * lock names its holder by process id and start time, so the lock of a process that was killed is none, even where its
 * id is in use again.
 * @returns gives the folder back.
 * @throws ToastError `store_failed` when another process holds it.
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, "lock");
  const own = identityOf(process.pid);
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      await writeFile(path, own, { flag: "wx" });
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = await readFile(path, "utf8").catch(() => "");
    const pid = Number.parseInt(holder, 10);
    // A container's server has the same id after each start.
    if (Number.isInteger(pid) && identityOf(pid) === holder && isAlive(pid)) {
      const who = pid === process.pid ? "by this very process" : `by process ${pid}`;
      throw new ToastError(
        "store_failed",
        `The arena's folder ${folder} is in use ${who}. Stop that one, name another --data-dir, or share a Postgres server (DATABASE_URL).`,
      );
    }
    await rm(path, { force: true });
  }
  throw new ToastError("store_failed", `The arena's folder ${folder} cannot be locked.`);
}

/** `pid start`; the start as Linux tells it, elsewhere nothing. */
function identityOf(pid: number): string {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return `${pid} ${fields[19] ?? ""}`;
  } catch {
    return `${pid} `;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
