import { existsSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

/** The commit that is checked out in `folder`, read from its .git; null when there is none that can be read. */
export function gitCommit(folder: string): string | null {
  try {
    const gitFolder = gitFolderOf(folder);
    const head = readLine(join(gitFolder, "HEAD"));
    const ref = /^ref: (.+)$/.exec(head)?.[1];
    if (ref === undefined) return head;
    // A work tree of its own has HEAD alone; branches lie in the folder that it shares.
    const commonDir = join(gitFolder, "commondir");
    const shared = existsSync(commonDir) ? resolve(gitFolder, readLine(commonDir)) : gitFolder;
    const loose = join(shared, ref);
    if (existsSync(loose)) return readLine(loose);
    const packed = readFileSync(join(shared, "packed-refs"), "utf8").split("\n");
    return packed.find((line) => line.endsWith(` ${ref}`))?.split(" ")[0] ?? null;
  } catch {
    return null;
  }
}

function gitFolderOf(folder: string): string {
  const path = join(folder, ".git");
  if (statSync(path).isDirectory()) return path;
  return resolve(folder, readLine(path).replace(/^gitdir: /, ""));
}

function readLine(file: string): string {
  return readFileSync(file, "utf8").trim();
}
