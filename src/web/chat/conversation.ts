import type { Sampling } from "../sampling-fields.js";
import { stackWords, type VectorStack } from "../vector-stack.js";
import { type Attachment, fenced } from "./attachments/attachment.js";

/** A conversation as the browser keeps it: a tree, since what was asked or answered again keeps what stood there. */
export interface Conversation {
  readonly id: string;
  readonly title: string;
  /** Milliseconds since 1970. */
  readonly updatedAt: number;
  /** All that was said on every branch, a message behind the one that it follows. */
  readonly messages: readonly Message[];
  /** Which version is shown where there are several, by {@link placeOf}; the newest where this does not say. */
  readonly shown: Readonly<Record<string, string>>;
  /** Messages behind which the model no longer sees what stands above. */
  readonly cuts: readonly string[];
}

export type Message = UserMessage | AssistantMessage;

interface InTree {
  /** Sorts by the time it was made. */
  readonly id: string;
  /** The message that it follows; null: none. */
  readonly parent: string | null;
  /** Which question this is or answers, in whatever words; turns sort as they were begun, whatever tab began them. */
  readonly turn: string;
}

export interface UserMessage extends InTree {
  readonly role: "user";
  readonly content: string;
  readonly attachments: readonly Attachment[];
}

/** A text, and what it was steered by. */
export interface SteeredText {
  readonly content: string;
  readonly model: string;
  /** Strength that steered it; null for a model without an adapter. */
  readonly strength: number | null;
  readonly vectors: VectorStack;
}

export interface AssistantMessage extends SteeredText, InTree {
  readonly role: "assistant";
  readonly systemPrompt: string;
  /** Null: of a page that did not keep it. */
  readonly sampling: Sampling | null;
  readonly seed: number;
  /** The version that this is to be compared with: from the same seed, otherwise steered; null: none. */
  readonly before: string | null;
  /** Milliseconds since 1970. */
  readonly askedAt: number;
  /** Whether it was cut off and gone on with: no one request has this text. */
  readonly isContinued: boolean;
  /** How it ended; `running` only while it does; `interrupted`: its page was left before. */
  readonly state: "running" | "done" | "length" | "stopped" | "interrupted" | "failed";
  /** What went wrong, as a sentence; null when nothing did. */
  readonly problem: string | null;
  /** Whether it was refused because the messages are more than the model's context holds. */
  readonly isTooLong: boolean;
  /** Tokens of what was sent; null where the server did not say. */
  readonly promptTokens: number | null;
  readonly tokens: number | null;
  readonly tokensPerSecond: number | null;
  readonly firstTextMs: number | null;
}

const longestTitle = 48;

/** @returns a title from what the user said first: its first line, cut at a word. */
export function titleOf(firstMessage: string): string {
  const line = (firstMessage.trim().split("\n", 1)[0] ?? "").trim();
  if (line === "") return "New conversation";
  if (line.length <= longestTitle) return line;
  const cut = line.slice(0, longestTitle);
  const space = cut.lastIndexOf(" ");
  return `${(space > longestTitle / 2 ? cut.slice(0, space) : cut).trimEnd()}…`;
}

/** Where in a conversation a message stands: versions of one thing share their place. */
export function placeOf({ role, turn, parent }: Pick<Message, "role" | "turn" | "parent">): string {
  return role === "user" ? `${parent ?? ""} ${turn}` : `${parent ?? ""} answer`;
}

/** @returns the messages of each place, the oldest version first. */
export function versionsOf(messages: readonly Message[]): ReadonlyMap<string, readonly Message[]> {
  const versions = new Map<string, Message[]>();
  for (const message of messages.toSorted((one, next) => compare(one.id, next.id))) {
    const place = placeOf(message);
    const others = versions.get(place);
    if (others === undefined) versions.set(place, [message]);
    else others.push(message);
  }
  return versions;
}

/**
 * The messages that are shown, from the first to the last: of each place one version. Where two tabs asked at once,
 * both questions follow the same message; both are shown, in the order in which they were begun.
 */
export function threadOf({ messages, shown }: Pick<Conversation, "messages" | "shown">): readonly Message[] {
  const chosen = new Map<string | null, Map<string, Message>>();
  for (const message of messages) {
    const places = chosen.get(message.parent) ?? new Map<string, Message>();
    chosen.set(message.parent, places);
    const place = placeOf(message);
    const other = places.get(place);
    if (other === undefined || isPreferred(message, other, shown[place])) places.set(place, message);
  }
  const thread: Message[] = [];
  const open: (string | null)[] = [null];
  for (let parent = open.pop(); parent !== undefined; parent = open.pop()) {
    for (const message of chosen.get(parent)?.values() ?? []) {
      thread.push(message);
      open.push(message.id);
    }
  }
  return thread.toSorted((one, next) => compare(one.turn, next.turn) || -compare(one.role, next.role));
}

function isPreferred(message: Message, other: Message, shown: string | undefined): boolean {
  if (other.id === shown) return false;
  return message.id === shown || message.id > other.id;
}

/** @returns the conversation with a version shown in its place. */
export function withShown(conversation: Conversation, message: Message): Conversation {
  return { ...conversation, shown: { ...conversation.shown, [placeOf(message)]: message.id } };
}

/** @returns the conversation with all shown that a copy of it shows: what comes from elsewhere is not to move it. */
export function withViewOf(conversation: Conversation, copy: Conversation): Conversation {
  const shown = new Set(threadOf(conversation).map(({ id }) => id));
  const hidden = threadOf(copy).filter(({ id }) => !shown.has(id));
  return hidden.reduce(withShown, conversation);
}

/** @returns the conversation with the newest version shown, where another was chosen before. */
export function withNewest(conversation: Conversation, message: Message): Conversation {
  return conversation.shown[placeOf(message)] === undefined ? conversation : withShown(conversation, message);
}

/** @returns the conversation with a message put in, or in place of the one of its id. */
export function withMessage(conversation: Conversation, message: Message): Conversation {
  const isKnown = conversation.messages.some(({ id }) => id === message.id);
  const messages = isKnown
    ? conversation.messages.map((other) => (other.id === message.id ? message : other))
    : [...conversation.messages, message];
  return { ...conversation, messages };
}

/** Messages as the wire takes them: system text first. */
export function wireMessages(
  systemPrompt: string,
  thread: readonly Message[],
  cuts: readonly string[],
): readonly object[] {
  return [
    ...(systemPrompt.trim() === "" ? [] : [{ role: "system", content: systemPrompt }]),
    ...sentMessages(thread, cuts),
  ];
}

/** @returns the place in a thread from which on messages are sent. */
export function beginningOf(thread: readonly Message[], cuts: readonly string[]): number {
  return thread.findLastIndex(({ id }) => cuts.includes(id)) + 1;
}

/**
 * The messages of a thread that are sent: those behind its last cut; no answer that never had text, and no question
 * that was refused, or it would have all later ones refused too.
 */
export function sentMessages(
  thread: readonly Message[],
  cuts: readonly string[],
): readonly Pick<Message, "role" | "content">[] {
  const begin = beginningOf(thread, cuts);
  const said = thread.filter((message, at) => {
    if (at < begin) return false;
    return message.role === "user" ? !isRefused(thread[at + 1]) : message.content !== "";
  });
  return said.map((message) => ({ role: message.role, content: contentOf(message) }));
}

/** What a message says to the model: of a question, its files too, and the question behind them. */
export function contentOf(message: Message): string {
  if (message.role === "assistant") return message.content;
  return [...message.attachments.map(fenced), message.content].filter((part) => part !== "").join("\n\n");
}

/** Whether nothing came of a question. */
function isRefused(answer: Message | undefined): boolean {
  return answer?.role === "assistant" && answer.state === "failed" && answer.content === "";
}

/** @returns the conversation with an answer changed; unchanged when it is not there. */
export function withAnswerOf(
  conversation: Conversation,
  id: string,
  change: (answer: AssistantMessage) => AssistantMessage,
): Conversation {
  const messages = conversation.messages.map((message) =>
    message.role === "assistant" && message.id === id ? change(message) : message,
  );
  return { ...conversation, messages };
}

/**
 * Two copies of one conversation, of two tabs or of a file, as one: what was said in both; of an answer that both have,
 * the one asked for later, or the one that has come further. What is shown stays as it is in the own one.
 */
export function merged(own: Conversation, other: Conversation): Conversation {
  const newer = own.updatedAt >= other.updatedAt ? own : other;
  const all = new Map<string, Message>();
  for (const message of [...other.messages, ...own.messages]) {
    const known = all.get(message.id);
    all.set(message.id, known === undefined ? message : furtherOf(message, known));
  }
  return { ...newer, messages: [...all.values()], shown: own.shown };
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

function furtherOf(own: Message, other: Message): Message {
  if (own.role === "user" || other.role === "user") return own;
  if (own.askedAt !== other.askedAt) return own.askedAt > other.askedAt ? own : other;
  // Another tab cannot know how far an answer is that is written here.
  if (own.state === "running" || other.state === "interrupted") return own;
  return own.state === "interrupted" ? other : own;
}

/** What is shown of a conversation as a Markdown text for people. */
export function toMarkdown(conversation: Conversation): string {
  const all = versionsOf(conversation.messages);
  const parts = threadOf(conversation).map((message) => {
    const who = message.role === "user" ? "You" : modelLine(message);
    const versions = all.get(placeOf(message)) ?? [message];
    const which = versions.length === 1 ? "" : ` (${versions.indexOf(message) + 1} of ${versions.length})`;
    return `**${who}**${which}\n\n${contentOf(message)}`;
  });
  return `# ${conversation.title}\n\n${parts.join("\n\n")}\n`;
}

/** All that the text follows from, so that it can be had again. */
function modelLine({ model, strength, vectors, seed, systemPrompt, sampling }: AssistantMessage): string {
  const given = Object.entries(sampling ?? {}).filter(([name, value]) => value !== null && name !== "seed");
  const words = [
    model,
    ...(strength === null ? [] : [`strength ${strength}`]),
    ...stackWords(vectors),
    `seed ${seed}`,
    ...given.map(([name, value]) => `${name} ${value}`),
    ...(systemPrompt.trim() === "" ? [] : [`system prompt ${JSON.stringify(systemPrompt)}`]),
  ];
  return words.join(", ");
}
