import { existsSync, rmSync } from "node:fs";
import { isMainThread, workerData } from "node:worker_threads";

/**
 * Loaded into every thread of a server (NODE_OPTIONS): where the file that END_ENGINE names appears, the engine's
 * thread ends, as it would by a fault that nobody has thought of.
 */
const { END_ENGINE: file } = process.env;
if (!isMainThread && workerData?.limits !== undefined && file !== undefined) {
  setInterval(() => {
    if (!existsSync(file)) return;
    rmSync(file);
    throw new Error("This engine ends here.");
  }, 20).unref();
}
