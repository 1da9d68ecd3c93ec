/** A text file that goes with a question. */
export interface Attachment {
  readonly name: string;
  readonly text: string;
}

/** A file as the model reads it: its name, and its text in a fence that the text itself cannot end. */
export function fenced({ name, text }: Attachment): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${name}:\n${fence}\n${text.replace(/\n$/, "")}\n${fence}`;
}

/** In bytes, of one file; the server counts the tokens of as much. */
const mostBytes = 100_000;
export const mostFiles = 5;

/**
 * Reads a file that was picked, dropped or pasted.
 * @returns a sentence where it is no text, or too long for any model here.
 */
export async function readAttachment(file: File): Promise<Attachment | string> {
  if (file.size > mostBytes) {
    const size = Math.ceil(file.size / 1000).toLocaleString("en");
    return `${file.name} has ${size} KB; a file may have ${mostBytes / 1000} KB. Attach the part that matters.`;
  }
  if (file.size === 0) return `${file.name} is empty.`;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    // Some formats that are no text happen to be valid UTF-8.
    if (!text.includes("\0")) return { name: file.name, text: text.replaceAll("\r\n", "\n") };
  } catch (error) {
    if (!(error instanceof TypeError)) return `${file.name} cannot be read. Was it moved or deleted?`;
  }
  return `${file.name} is no text: only files of plain text in UTF-8 can be attached, such as .txt, .md, .csv or source code.`;
}
