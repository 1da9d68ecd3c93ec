import { signal } from "@preact/signals";
import { access } from "../../session.js";
import { callJson } from "../../wire/call.js";
import { field, number } from "../../wire/read.js";
import type { ModelEntry } from "../../wire/server.js";
import { chosenModel } from "../chat-state.js";
import { attached } from "../composer-draft.js";
import { type Attachment, fenced, mostFiles, readAttachment } from "./attachment.js";

/** Why files were not attached, a sentence for each; gone with the next that are. */
export const refusals = signal<readonly string[]>([]);

/** How many files are being read; the question waits for them. */
export const reading = signal(0);

/** Attaches files to the question that is being written, each of which can be refused. */
export async function attach(files: readonly File[]): Promise<void> {
  refusals.value = [];
  reading.value += files.length;
  for (const file of files) {
    const read = await readAttachment(file);
    const refusal = typeof read === "string" ? read : await refusalOf(read);
    if (refusal !== null) refusals.value = [...refusals.value, refusal];
    else if (typeof read !== "string") attached.value = [...attached.value, read];
    reading.value--;
  }
}

async function refusalOf(attachment: Attachment): Promise<string | null> {
  const { name, text } = attachment;
  if (attached.value.some((other) => other.name === name && other.text === text)) return `${name} is attached already.`;
  if (attached.value.length >= mostFiles) {
    return `${name} is one too many: a question can have ${mostFiles} files. Remove one first.`;
  }
  const model = chosenModel.value;
  if (model?.contextLength == null) return null;
  const tokens = await tokensOf(attachment, model);
  if (tokens === null || tokens < model.contextLength) return null;
  return `${name} has ${tokens.toLocaleString("en")} tokens, but ${model.id} reads ${model.contextLength.toLocaleString("en")} in all. Attach the part that matters.`;
}

/** @returns null where the server does not say; it will when the question is sent. */
async function tokensOf(attachment: Attachment, model: ModelEntry): Promise<number | null> {
  try {
    const body = { model: model.id, prompt: fenced(attachment) };
    return number(field(await callJson(access.value, "/tokenize", { method: "POST", body }), "count"));
  } catch {
    return null;
  }
}
