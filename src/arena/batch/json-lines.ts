import { readFile } from "node:fs/promises";
import { type ErrorCode, ToastError } from "../../errors.js";

/** One line of a file, or one item of a JSON array, and how to speak of it. */
export interface Item {
  readonly value: unknown;
  readonly where: string;
}

/**
 * The items of a `.jsonl` file, or of a `.json` file that holds an array.
 * @param read makes text of the file.
 * @throws ToastError `file_missing`; `invalid_option`, naming the line at fault.
 */
export async function readItems(
  path: string,
  read: (path: string) => Promise<string> = (file) => readFile(file, "utf8"),
): Promise<readonly Item[]> {
  const whole = await read(path).catch((cause: unknown) => {
    if (cause instanceof ToastError) throw cause;
    throw new ToastError("file_missing", `${path} cannot be read.`, { cause });
  });
  return itemsOf(whole, "invalid_option", path);
}

/**
 * The items of JSON lines, or of a JSON array.
 * @param name of the text.
 * @throws ToastError `code`, naming the line at fault.
 */
export function itemsOf(text: string, code: ErrorCode, name = ""): readonly Item[] {
  const of = name === "" ? "" : ` of ${name}`;
  const unmarked = withoutMark(text);
  if (!unmarked.trimStart().startsWith("[")) return jsonLines(unmarked, code, of);
  const array = parse(unmarked, name === "" ? "The array" : name, code);
  return (Array.isArray(array) ? array : []).map((value, index) => ({ value, where: `Item ${index + 1}${of}` }));
}

/** Empty lines are none. */
function jsonLines(text: string, code: ErrorCode, of: string): readonly Item[] {
  return text.split(/\r?\n/).flatMap((line, index) => {
    const where = `Line ${index + 1}${of}`;
    return line.trim() === "" ? [] : [{ value: parse(line, where, code), where }];
  });
}

/** Without the byte order mark that PowerShell and Excel put in front. */
function withoutMark(text: string): string {
  return text.replace(/^\uFEFF/, "");
}

function parse(text: string, where: string, code: ErrorCode): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ToastError(code, `${where} is not valid JSON: ${(cause as Error).message}.`, { cause });
  }
}
