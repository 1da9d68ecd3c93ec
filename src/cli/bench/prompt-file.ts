import { readFile } from "node:fs/promises";
import { z } from "zod";
import { ToastError } from "../../errors.js";
import { jsonOf } from "../../remote-response.js";

const lineSchema = z
  .looseObject({ instruction: z.string().optional(), prompt: z.string().optional(), text: z.string().optional() })
  .transform(({ instruction, prompt, text }) => instruction ?? prompt ?? text)
  .pipe(z.string().min(1));

/**
 * Prompts of a file: of each line of a .jsonl file its `instruction`, `prompt` or `text`, of any other file each line.
 * @throws ToastError `file_missing`, `invalid_option` for a line without a prompt or a file without any.
 */
export async function readPromptFile(file: string): Promise<readonly string[]> {
  const content = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new ToastError("file_missing", `${file} cannot be read.`, { cause });
  });
  const lines = content
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .map((text, index) => ({ text, number: index + 1 }));
  const filled = lines.filter(({ text }) => text.trim() !== "");
  if (filled.length === 0) throw new ToastError("invalid_option", `${file} holds no prompt.`, { param: "--prompts" });
  if (!file.endsWith(".jsonl")) return filled.map(({ text }) => text);
  return filled.map(({ text, number }) => {
    const parsed = lineSchema.safeParse(jsonOf(text));
    if (parsed.success) return parsed.data;
    const message = `Line ${number} of ${file} is no JSON object with a string 'instruction', 'prompt' or 'text'.`;
    throw new ToastError("invalid_option", message, { param: "--prompts" });
  });
}
