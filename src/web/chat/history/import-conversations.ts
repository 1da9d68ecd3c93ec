import { field, list, text } from "../../wire/read.js";
import type { Conversation } from "../conversation.js";
import { readConversation } from "./read-conversation.js";

/** In bytes; more than any browser keeps for a page. */
const mostBytes = 20_000_000;

/** Part of an address and of a storage key. */
const idPattern = /^[\w.-]{1,64}$/;

/** @returns what a file holds that this page has exported, or a sentence that says why it is none. */
export async function readImport(file: File): Promise<readonly Conversation[] | string> {
  if (file.size > mostBytes) {
    return `${file.name} has ${Math.ceil(file.size / 1e6)} MB; at most ${mostBytes / 1e6} MB can be imported at once.`;
  }
  let value: unknown;
  try {
    value = JSON.parse(await file.text());
  } catch {
    return `${file.name} is no JSON. Conversations come back from “Export as JSON” and “Export all”, not from Markdown.`;
  }
  const items = Array.isArray(value) ? list(value) : [value];
  if (items.length === 0) return `${file.name} holds no conversations.`;
  for (const [at, item] of items.entries()) {
    const fault = faultOf(item);
    if (fault !== null) return `${file.name} was not imported: conversation ${at + 1} of ${items.length} ${fault}.`;
  }
  return items.flatMap((item) => readConversation(item) ?? []);
}

/** @returns null for a conversation as it is exported. */
function faultOf(item: unknown): string | null {
  if (typeof item !== "object" || item === null) return "is no object";
  const id = text(field(item, "id"));
  if (id === null || !idPattern.test(id)) return "has no “id” of letters, digits, '.', '-' and '_'";
  if (text(field(item, "title")) === null) return "has no “title”";
  const messages = field(item, "messages");
  if (!Array.isArray(messages) || messages.length === 0) return "has no “messages”";
  for (const [at, message] of list(messages).entries()) {
    const role = field(message, "role");
    if (role !== "user" && role !== "assistant") {
      return `has a message (${at + 1}) whose “role” is neither user nor assistant`;
    }
    if (text(field(message, "content")) === null) return `has a message (${at + 1}) without a text as its “content”`;
  }
  return null;
}
