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
  const text = withoutMark(whole);
  if (text.trimStart().startsWith("[")) {
    const array = parse(text, path, "invalid_option");
    return (Array.isArray(array) ? array : []).map((value, index) => ({
      value,
      where: `Item ${index + 1} of ${path}`,
    }));
  }
  return jsonLines(text, "invalid_option", ` of ${path}`);
}

/**
 * The items of JSON lines; empty lines are none.
 * @param of what the lines are of, behind their number.
 * @throws ToastError `code`, naming the line at fault.
 */
export function jsonLines(text: string, code: ErrorCode, of = ""): readonly Item[] {
  return withoutMark(text)
    .split(/\r?\n/)
    .flatMap((line, index) => {
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
