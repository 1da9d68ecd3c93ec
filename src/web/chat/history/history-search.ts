import type { Conversation, Message } from "../conversation.js";

/** A conversation that holds every word that was looked for. */
export interface Finding {
  readonly conversation: Conversation;
  /** The first message with one of the words, on whatever branch; null where the title has them all. */
  readonly message: Message | null;
  /** What stands around the word in the message, the word itself, and the rest; null with the message. */
  readonly excerpt: readonly [before: string, word: string, after: string] | null;
}

/** Characters of an excerpt before and after the word. */
const around = [24, 72] as const;

/** @returns conversations with all words of the query in title, questions, answers or files, in their own order. */
export function search(conversations: readonly Conversation[], query: string): readonly Finding[] {
  const words = folded(query)
    .split(/\s+/)
    .filter((word) => word !== "");
  if (words.length === 0) return [];
  return conversations.flatMap((conversation) => findingIn(conversation, words) ?? []);
}

function findingIn(conversation: Conversation, words: readonly string[]): Finding | null {
  const title = folded(conversation.title);
  const texts = conversation.messages.map((message) => folded(textOf(message)));
  const isInAll = words.every((word) => title.includes(word) || texts.some((text) => text.includes(word)));
  if (!isInAll) return null;
  const missing = words.find((word) => !title.includes(word));
  if (missing === undefined) return { conversation, message: null, excerpt: null };
  const at = texts.findIndex((text) => text.includes(missing));
  const message = conversation.messages[at] ?? null;
  return { conversation, message, excerpt: message === null ? null : excerptOf(textOf(message), missing) };
}

function textOf(message: Message): string {
  const files = message.role === "user" ? message.attachments.map(({ name, text }) => `${name} ${text}`) : [];
  return [message.content, ...files].join("\n");
}

function excerptOf(text: string, word: string): readonly [string, string, string] {
  const at = folded(text).indexOf(word);
  const end = at + word.length;
  const before = text.slice(Math.max(0, at - around[0]), at);
  const after = text.slice(end, end + around[1]);
  return [at > around[0] ? `…${before}` : before, text.slice(at, end), after];
}

/** Upper and lower case alike, each character as long as before, so that places stay. */
function folded(text: string): string {
  const lower = text.toLowerCase();
  return lower.length === text.length ? lower : [...text].map(lowerOfSameLength).join("");
}

function lowerOfSameLength(character: string): string {
  const lower = character.toLowerCase();
  return lower.length === character.length ? lower : character;
}
