import type { Sampling } from "../sampling-fields.js";
import { stackWords, type VectorStack } from "../vector-stack.js";

/** A conversation as the browser keeps it. */
export interface Conversation {
  readonly id: string;
  readonly title: string;
  /** Milliseconds since 1970. */
  readonly updatedAt: number;
  readonly messages: readonly Message[];
}

export type Message = UserMessage | AssistantMessage;

export interface UserMessage {
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

export interface AssistantMessage extends SteeredText {
  readonly role: "assistant";
  readonly systemPrompt: string;
  /** Null: of a page that did not keep it. */
  readonly sampling: Sampling | null;
  readonly seed: number;
  /** What stood here before it was answered again, otherwise steered, from the same seed. */
  readonly before: SteeredText | null;
  /** How it ended; `running` only while it does. */
  readonly state: "running" | "done" | "length" | "stopped" | "failed";
  /** What went wrong, as a sentence; null when nothing did. */
  readonly problem: string | null;
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

/** Messages as the wire takes them: system text first, and no answer that never had text. */
export function wireMessages(systemPrompt: string, messages: readonly Message[]): readonly object[] {
  const said = messages.filter(({ role, content }) => role === "user" || content !== "");
  return [
    ...(systemPrompt.trim() === "" ? [] : [{ role: "system", content: systemPrompt }]),
    ...said.map(({ role, content }) => ({ role, content })),
  ];
}

/** @returns the messages with the last one replaced; unchanged when there is none. */
export function withLast(
  messages: readonly Message[],
  change: (last: AssistantMessage) => AssistantMessage,
): readonly Message[] {
  const last = messages.at(-1);
  return last?.role === "assistant" ? [...messages.slice(0, -1), change(last)] : messages;
}

/** A conversation as a Markdown text for people. */
export function toMarkdown({ title, messages }: Conversation): string {
  const parts = messages.map((message) => {
    const who = message.role === "user" ? "You" : modelLine(message);
    return `**${who}**\n\n${message.content}`;
  });
  return `# ${title}\n\n${parts.join("\n\n")}\n`;
}

function modelLine({ model, strength, vectors, seed }: AssistantMessage): string {
  const parts = stackWords(vectors).map((words) => `, ${words}`);
  return `${model}${strength === null ? "" : `, strength ${strength}`}${parts.join("")}, seed ${seed}`;
}
