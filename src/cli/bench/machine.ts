import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";
import { packageFolder, packageVersion } from "../../package.js";
import { gitCommit } from "./git-commit.js";

/** Where a measurement was taken, and of what program; a figure without it says nothing. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  /** Processes that ran or wanted to, over the minute before: 0 on a quiet machine. */
  readonly loadBefore: number;
  readonly version: string;
  /** Null outside of a checkout. */
  readonly commit: string | null;
}

export function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()} ${process.arch}`,
    node: process.version,
    loadBefore: loadavg()[0] ?? 0,
    version: packageVersion(),
    commit: gitCommit(packageFolder),
  };
}
