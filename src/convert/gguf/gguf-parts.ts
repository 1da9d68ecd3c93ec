import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ToastError } from "../../errors.js";

const partName = /^(.+)-\d{5}-of-(\d{5})\.gguf$/;

/** Whether a path looks like a GGUF file. */
export function isGgufFile(path: string): boolean {
  return path.endsWith(".gguf");
}

/** The name of the model in a GGUF file: the file's, without what says that it is one or a part. */
export function ggufStem(file: string): string {
  const name = basename(file);
  return partName.exec(name)?.[1] ?? name.replace(/\.gguf$/, "");
}

/**
 * All files of the model that a GGUF file is, or is a part of; the first part first.
 * @throws ToastError `file_missing`
 */
export async function ggufParts(file: string): Promise<readonly string[]> {
  const [, stem, digits] = partName.exec(basename(file)) ?? [];
  const count = Number(digits ?? 0);
  if (count === 0) return [file];
  const five = (value: number): string => String(value).padStart(5, "0");
  const parts = Array.from({ length: count }, (_, index) =>
    join(dirname(file), `${stem}-${five(index + 1)}-of-${five(count)}.gguf`),
  );
  for (const path of parts) {
    const found = await stat(path).catch(() => null);
    if (found === null) {
      throw new ToastError("file_missing", `${path} is missing: ${basename(file)} is one of ${count} parts.`);
    }
  }
  return parts;
}

/**
 * The one GGUF model in a folder: a file, or the first of its parts; null without any.
 * @throws ToastError `invalid_option` when there are several.
 */
export async function ggufInFolder(folder: string): Promise<string | null> {
  const names = (await readdir(folder).catch(() => [])).filter(isGgufFile).sort();
  // Of parts, the first that is there: which of them is given does not matter.
  const setOf = (name: string): string => partName.exec(name)?.slice(1).join() ?? name;
  const models = names.filter((name, index) => names.findIndex((other) => setOf(other) === setOf(name)) === index);
  const [only, another] = models;
  if (only === undefined) return null;
  if (another !== undefined) {
    throw new ToastError(
      "invalid_option",
      `${folder} holds several GGUF models; name one of them: ${models.join(", ")}.`,
    );
  }
  return join(folder, only);
}
