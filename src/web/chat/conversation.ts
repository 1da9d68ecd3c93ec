import type { Sampling } from "../sampling-fields.js";
import { stackWords, type VectorStack } from "../vector-stack.js";

/** A conversation as the browser keeps it. */
export interface Conversation {
  readonly id: string;
  readonly title: string;
  /** Milliseconds since 1970. */
  readonly updatedAt: number;
  readonly messages: readonly Message[];
  /** The turn with which the messages sent begin; null: all are sent. */
  readonly begin: string | null;
  /** Turns that were taken out here; another tab's older copy may still hold them. */
  readonly removed: readonly string[];
}

export type Message = UserMessage | AssistantMessage;

interface InTurn {
  /** Which question this is or answers; turns sort as they were begun, whatever tab began them. */
  readonly turn: string;
}

export interface UserMessage extends InTurn {
  readonly role: "user";
  readonly content: string;
}

/** A text, and what it was steered by. */
export interface SteeredText {
  readonly content: string;
  readonly model: string;
  /** Strength that steered it; null for a model without an adapter. */
  readonly strength: number | null;
  readonly vectors: VectorStack;
}

export interface AssistantMessage extends SteeredText, InTurn {
  readonly role: "assistant";
  readonly systemPrompt: string;
  /** Null: of a page that did not keep it. */
  readonly sampling: Sampling | null;
  readonly seed: number;
  /** What stood here before it was answered again, otherwise steered, from the same seed. */
  readonly before: SteeredText | null;
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

type Said = Pick<Conversation, "messages" | "begin">;

/** Messages as the wire takes them: system text first. */
export function wireMessages(systemPrompt: string, conversation: Said): readonly object[] {
  return [
    ...(systemPrompt.trim() === "" ? [] : [{ role: "system", content: systemPrompt }]),
    ...sentMessages(conversation),
  ];
}

/**
 * The messages that are sent: those from `begin` on; no answer that never had text, and no question that was refused,
 * or it would have all later ones refused too.
 */
export function sentMessages({ messages, begin }: Said): readonly Pick<Message, "role" | "content">[] {
  const said = messages.filter((message, at) => {
    if (begin !== null && message.turn < begin) return false;
    return message.role === "user" ? !isRefused(messages[at + 1]) : message.content !== "";
  });
  return said.map(({ role, content }) => ({ role, content }));
}

/** Whether nothing came of a question. */
function isRefused(answer: Message | undefined): boolean {
  return answer?.role === "assistant" && answer.state === "failed" && answer.content === "";
}

/** @returns the messages with a turn's answer replaced; unchanged when there is none. */
export function withAnswerOf(
  messages: readonly Message[],
  turn: string,
  change: (answer: AssistantMessage) => AssistantMessage,
): readonly Message[] {
  return messages.map((message) => (message.role === "assistant" && message.turn === turn ? change(message) : message));
}

/**
 * Two tabs' copies of one conversation as one: the turns of both, but those that either took out; of an answer that
 * both have, the one asked for later, or the one that has come further.
 */
export function merged(own: Conversation, other: Conversation): Conversation {
  const newer = own.updatedAt >= other.updatedAt ? own : other;
  const removed = [...new Set([...other.removed, ...own.removed])];
  const all = new Map<string, Message>();
  for (const message of [...other.messages, ...own.messages]) {
    if (removed.includes(message.turn)) continue;
    const key = `${message.turn} ${message.role}`;
    const known = all.get(key);
    all.set(key, known === undefined ? message : furtherOf(message, known));
  }
  const messages = [...all.values()].toSorted(
    (one, next) => compare(one.turn, next.turn) || -compare(one.role, next.role),
  );
  return { ...newer, messages, removed };
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

/** A conversation as a Markdown text for people. */
export function toMarkdown({ title, messages }: Conversation): string {
  const parts = messages.map((message) => {
    const who = message.role === "user" ? "You" : modelLine(message);
    return `**${who}**\n\n${message.content}`;
  });
  return `# ${title}\n\n${parts.join("\n\n")}\n`;
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
