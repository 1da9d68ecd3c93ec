import { readSampling } from "../../sampling-fields.js";
import { readStack } from "../../vector-stack.js";
import { field, fields, list, number, text } from "../../wire/read.js";
import type { Attachment } from "../attachments/attachment.js";
import type { AssistantMessage, Conversation, Message } from "../conversation.js";

/** @returns a conversation of what was stored or exported, perhaps by an older page; null for what is none. */
export function readConversation(value: unknown): Conversation | null {
  const { id, title, updatedAt, messages: stored, shown, cuts, begin } = fields(value);
  if (typeof id !== "string" || typeof title !== "string") return null;
  const messages = readMessages(list(stored));
  return {
    id,
    title,
    updatedAt: number(updatedAt) ?? 0,
    messages,
    shown: Object.fromEntries(
      Object.entries(fields(shown)).filter(([, version]) => typeof version === "string"),
    ) as Conversation["shown"],
    cuts: typeof begin === "string" ? cutBefore(begin, messages) : list(cuts).flatMap((cut) => text(cut) ?? []),
  };
}

/** An older page kept the turn with which the messages sent begin, which may be still to come. */
function cutBefore(begin: string, messages: readonly Message[]): readonly string[] {
  const last = messages.findLast(({ turn }) => turn < begin);
  return last === undefined ? [] : [last.id];
}

const states: readonly string[] = [
  "done",
  "length",
  "stopped",
  "interrupted",
  "failed",
] satisfies AssistantMessage["state"][];

/** Each behind the one that it follows, so that no damaged file ties them into a ring. */
function readMessages(stored: readonly unknown[]): readonly Message[] {
  const known = new Map<string, Message>();
  let above: string | null = null;
  for (const [at, value] of stored.entries()) {
    for (const message of readMessage(value, at, above)) {
      if (known.has(message.id)) continue;
      const hasParent = message.parent === null || known.has(message.parent);
      known.set(message.id, hasParent ? message : { ...message, parent: above });
      above = message.id;
    }
  }
  return [...known.values()];
}

/**
 * @param above what an older page's message follows: those had no tree.
 * @returns the message, behind the answer that stood in its place, where an older page kept that in the newer one.
 */
function readMessage(message: unknown, at: number, above: string | null): readonly Message[] {
  const role = field(message, "role");
  if (role !== "user" && role !== "assistant") return [];
  // Still older pages kept no turns: theirs come before all others, in their order.
  const turn = text(field(message, "turn")) ?? `0-${String(at).padStart(6, "0")}`;
  const tree = {
    id: text(field(message, "id")) ?? (role === "user" ? turn : `${turn}-2`),
    parent: field(message, "parent") === undefined ? above : text(field(message, "parent")),
    turn,
  };
  const content = text(field(message, "content")) ?? "";
  if (role === "user") return [{ ...tree, role, content, attachments: readAttachments(field(message, "attachments")) }];
  const answer = readAnswer(message, tree, content);
  const compared = text(field(message, "before", "content"));
  if (compared === null) return [answer];
  const older: AssistantMessage = {
    ...readAnswer({ ...fields(field(message, "before")), state: "done" }, { ...tree, id: `${turn}-1` }, compared),
    systemPrompt: answer.systemPrompt,
    seed: answer.seed,
  };
  return [older, { ...answer, before: older.id }];
}

function readAnswer(
  message: unknown,
  tree: Pick<Message, "id" | "parent" | "turn">,
  content: string,
): AssistantMessage {
  const state = text(field(message, "state")) ?? "";
  return {
    ...tree,
    role: "assistant",
    content,
    askedAt: number(field(message, "askedAt")) ?? 0,
    isContinued: field(message, "isContinued") === true,
    model: text(field(message, "model")) ?? "",
    strength: number(field(message, "strength")),
    vectors: readStack(field(message, "vectors")),
    systemPrompt: text(field(message, "systemPrompt")) ?? "",
    sampling: field(message, "sampling") === undefined ? null : readSampling(field(message, "sampling"), () => null),
    before: text(field(message, "before")),
    seed: number(field(message, "seed")) ?? 0,
    // Stored as running: the page was left in the middle of it, or another tab still writes.
    state: states.includes(state) ? (state as AssistantMessage["state"]) : "interrupted",
    problem: text(field(message, "problem")),
    isTooLong: field(message, "isTooLong") === true,
    promptTokens: number(field(message, "promptTokens")),
    tokens: number(field(message, "tokens")),
    tokensPerSecond: number(field(message, "tokensPerSecond")),
    firstTextMs: number(field(message, "firstTextMs")),
  };
}

function readAttachments(value: unknown): readonly Attachment[] {
  return list(value).flatMap((item) => {
    const name = text(field(item, "name"));
    const content = text(field(item, "text"));
    return name === null || content === null ? [] : [{ name, text: content }];
  });
}
