import { computed, signal } from "@preact/signals";
import { settings, strengthOf } from "../sampling.js";
import { drawSeed, samplingBody } from "../sampling-fields.js";
import { access, announcement, heedProblem, modelOf, models, vectorsOfRoot } from "../session.js";
import { knownOf, steeringBody, type VectorStack } from "../vector-stack.js";
import { type Answer, paceOf } from "../wire/answer.js";
import { askChat } from "../wire/ask.js";
import { defaultModel, type ModelEntry } from "../wire/server.js";
import type { Attachment } from "./attachments/attachment.js";
import {
  type AssistantMessage,
  type Conversation,
  type Message,
  threadOf,
  titleOf,
  type UserMessage,
  wireMessages,
  withAnswerOf,
  withMessage,
  withNewest,
  withShown,
} from "./conversation.js";
import { conversations, current, currentId, isPageLeft, keep, newId, show, takeOut } from "./history/conversations.js";

/** What is shown of the open conversation, from its first message to its last. */
export const thread = computed<readonly Message[]>(() => (current.value === null ? [] : threadOf(current.value)));

/** The answer that is being written; one at a time. */
export const running = signal<{
  readonly conversation: string;
  readonly answer: string;
  readonly stop: AbortController;
} | null>(null);

/** The question that is being put in other words, by its id. */
export const editing = signal<string | null>(null);

/** How often something was asked here: whoever asks wants to see the answer. */
export const timesAsked = signal(0);

/** The model that the next answer will be of; null while none is known. */
export const chosenModel = computed<ModelEntry | null>(
  () => modelOf(settings.value.model) ?? defaultModel(models.value),
);

/** Starts a conversation with the next message. */
export function newConversation(): void {
  currentId.value = null;
}

/** @param seed null: as set, or drawn. */
export async function send(
  text: string,
  seed: number | null = null,
  attachments: readonly Attachment[] = [],
): Promise<void> {
  const content = text.trim();
  if ((content === "" && attachments.length === 0) || running.value !== null) return;
  const conversation: Conversation = current.value ?? {
    id: newId(),
    title: titleOf(content === "" ? (attachments[0]?.name ?? "") : content),
    updatedAt: Date.now(),
    messages: [],
    shown: {},
    cuts: [],
  };
  currentId.value = conversation.id;
  const id = newId();
  const parent = threadOf(conversation).at(-1)?.id ?? null;
  const question: UserMessage = { role: "user", id, parent, turn: id, content, attachments };
  await answerTo(withMessage(conversation, question), question, seed === null ? {} : { seed });
}

/** Asks for an answer once more; the one that is there stays as another version. */
export async function regenerate(answer: AssistantMessage): Promise<void> {
  await answerInPlaceOf(answer, {});
}

/** Asks for an answer again as it is steered now, from its own seed, to be compared with what it said. */
export async function answerAgain(answer: AssistantMessage): Promise<void> {
  await answerInPlaceOf(answer, { seed: answer.seed, before: answer.content === "" ? null : answer.id });
}

/** Goes on with an answer where it was cut off. */
export async function continueAnswer(answer: AssistantMessage): Promise<void> {
  const { id, seed, before, content } = answer;
  await answerInPlaceOf(answer, { id, seed, before, content });
}

async function answerInPlaceOf(answer: AssistantMessage, given: Given): Promise<void> {
  const conversation = current.value;
  const question = conversation?.messages.find(({ id }) => id === answer.parent);
  if (!conversation || question?.role !== "user" || running.value !== null) return;
  // What never had text is no version to come back to.
  await answerTo(conversation, question, answer.content === "" ? { ...given, id: answer.id } : given);
}

/** The question of the last answer again, without all that stands above it. */
export async function answerFromHere(answer: AssistantMessage): Promise<void> {
  const question = thread.value.findIndex(({ id }) => id === answer.parent);
  const above = thread.value[question - 1];
  if (above !== undefined) cutBehind(above.id);
  await regenerate(answer);
}

/** Leaves all that is shown out of what is sent from now on; it stays to be read. */
export function beginAnew(): void {
  const last = thread.value.at(-1);
  if (last !== undefined) cutBehind(last.id);
}

function cutBehind(id: string): void {
  const conversation = current.value;
  if (conversation !== null) keep({ ...conversation, cuts: [...conversation.cuts, id], updatedAt: Date.now() });
}

/** Sends again what was left out of what is shown. */
export function sendAll(): void {
  const conversation = current.value;
  if (conversation === null) return;
  const shown = new Set(thread.value.map(({ id }) => id));
  keep({ ...conversation, cuts: conversation.cuts.filter((id) => !shown.has(id)), updatedAt: Date.now() });
}

/** Sends another text in place of a question's; the old one, with all that followed it, stays as another version. */
export async function resend(question: UserMessage, text: string, attachments: readonly Attachment[]): Promise<void> {
  const conversation = current.value;
  const content = text.trim();
  if (conversation === null || running.value !== null || (content === "" && attachments.length === 0)) return;
  const edited: UserMessage = { ...question, id: newId(), content, attachments };
  // A title that somebody chose stays.
  const isFirst = question.parent === null && conversation.title === titleOf(question.content);
  const title = isFirst && content !== "" ? titleOf(content) : conversation.title;
  await answerTo(withNewest(withMessage({ ...conversation, title }, edited), edited), edited, {});
}

/** The message that is to be brought into sight, by its id. */
export const sought = signal<string | null>(null);

/** Opens a conversation with a message of it in sight, on whatever branch that stands. */
export function reveal(id: string, messageId: string | null): void {
  currentId.value = id;
  const conversation = current.value;
  if (conversation === null || messageId === null) return;
  const known = new Map(conversation.messages.map((message) => [message.id, message]));
  let changed = conversation;
  for (let at = known.get(messageId); at !== undefined; at = known.get(at.parent ?? "")) {
    if (!threadOf(changed).includes(at)) changed = withShown(changed, at);
  }
  if (changed !== conversation) keep(changed);
  sought.value = messageId;
}

/** Shows another version of a message, and what followed that one. */
export function showVersion(id: string): void {
  const conversation = current.value;
  const message = conversation?.messages.find((one) => one.id === id);
  if (conversation && message !== undefined) keep(withShown(conversation, message));
}

/** The control vectors that the next answer of a model will have. */
export function chosenStack({ root }: ModelEntry): VectorStack {
  return knownOf(
    settings.value.vectors,
    vectorsOfRoot(root).map(({ name }) => name),
  );
}

/** The last answer of what is shown, once it has ended; null where there is none. */
export const lastAnswer = computed<AssistantMessage | null>(() => {
  const last = thread.value.at(-1);
  return last?.role === "assistant" && last.state !== "running" ? last : null;
});

/** Tokens that the messages sent so far and the last answer take; null where it is not known, or nothing is sent. */
export const contextInUse = computed<number | null>(() => {
  const last = lastAnswer.value;
  if (last === null || last.promptTokens === null || current.value?.cuts.includes(last.id)) return null;
  return last.promptTokens + (last.tokens ?? 0);
});

/** Whether the next answer would be steered otherwise than the last one was. */
export const isSteeredAnew = computed(() => {
  const model = chosenModel.value;
  const last = lastAnswer.value;
  // What came by a link is another's text.
  if (model === null || last === null || last.sampling === null || running.value !== null) return false;
  const key = ({ id, strength, stack }: { id: string; strength: number | null; stack: VectorStack }) =>
    JSON.stringify([id, strength, Object.entries(stack).toSorted(([one], [other]) => one.localeCompare(other))]);
  const chosen = {
    id: model.id,
    strength: strengthOf(model, settings.value.strength),
    stack: chosenStack(model),
  };
  return key(chosen) !== key({ id: last.model, strength: last.strength, stack: last.vectors });
});

/** Opens a conversation as somebody else had it, to go on with; a new one where nothing was said in it. */
export function openWith(messages: Conversation["messages"]): void {
  const [first] = messages;
  if (first === undefined) {
    newConversation();
    return;
  }
  const conversation: Conversation = {
    id: newId(),
    title: titleOf(first.content),
    updatedAt: Date.now(),
    messages,
    shown: {},
    cuts: [],
  };
  keep(conversation);
  currentId.value = conversation.id;
}

export function stop(): void {
  running.value?.stop.abort();
}

/** What of an answer does not follow from the settings. */
interface Given {
  /** Of the version that is replaced; a new one otherwise. */
  readonly id?: string;
  readonly seed?: number;
  readonly before?: string | null;
  /** Its beginning, to go on with. */
  readonly content?: string;
}

async function answerTo(conversation: Conversation, question: UserMessage, given: Given): Promise<void> {
  const model = chosenModel.value;
  if (model === null) return;
  const { systemPrompt, sampling } = settings.value;
  const strength = strengthOf(model, settings.value.strength);
  const begun = given.content ?? "";
  const stack = chosenStack(model);
  const seed = given.seed ?? sampling.seed ?? drawSeed();
  const message: AssistantMessage = {
    role: "assistant",
    id: given.id ?? newId(),
    parent: question.id,
    turn: question.turn,
    content: begun,
    askedAt: Date.now(),
    model: model.id,
    strength,
    vectors: stack,
    systemPrompt,
    sampling,
    seed,
    isContinued: begun !== "",
    before: given.before ?? null,
    state: "running",
    problem: null,
    isTooLong: false,
    promptTokens: null,
    tokens: null,
    tokensPerSecond: null,
    firstTextMs: null,
  };
  const asked = withNewest(withMessage({ ...conversation, updatedAt: Date.now() }, message), message);
  const own = { conversation: asked.id, answer: message.id, stop: new AbortController() };
  running.value = own;
  announcement.value = "";
  keep(asked);
  timesAsked.value++;
  const shown = threadOf(asked);
  const end = shown.findIndex(({ id }) => id === (begun === "" ? question.id : message.id));
  const body = {
    model: model.id,
    messages: wireMessages(systemPrompt, shown.slice(0, end + 1), asked.cuts),
    ...(begun === "" ? {} : { continue_final_message: true, add_generation_prompt: false }),
    ...samplingBody(sampling, seed),
    ...steeringBody(strength === null ? null : { strength }, stack),
  };
  const answer = await askChat(access.value, body, own.stop.signal, (grown) => {
    const changed = grownBy(own, begun, grown);
    if (changed !== null) show(changed);
  });
  running.value = null;
  // The stream broke because the page is left; what there was of the answer has been stored.
  if (isPageLeft()) return;
  const ended = grownBy(own, begun, answer);
  // Deleted while it ran: it stays so.
  if (ended !== null) keep(ended);
  announcement.value = announcementOf(answer);
  if (answer.problem !== null) heedProblem(answer.problem);
}

function grownBy(
  own: { readonly conversation: string; readonly answer: string },
  begun: string,
  answer: Answer,
): Conversation | null {
  const conversation = conversations.value.find(({ id }) => id === own.conversation);
  return conversation === undefined
    ? null
    : withAnswerOf(conversation, own.answer, (message) => withAnswer(message, begun, answer));
}

function withAnswer(message: AssistantMessage, begun: string, answer: Answer): AssistantMessage {
  return {
    ...message,
    content: begun + answer.text,
    state: stateOf(answer),
    problem: answer.problem?.sentence ?? null,
    isTooLong: answer.problem?.code === "context_length_exceeded",
    promptTokens: answer.promptTokens,
    tokens: answer.completionTokens,
    ...paceOf(answer),
  };
}

function stateOf({ phase, finishReason }: Answer): AssistantMessage["state"] {
  switch (phase) {
    case "waiting":
    case "streaming":
      return "running";
    case "done":
      return finishReason === "length" ? "length" : "done";
    case "stopped":
    case "failed":
      return phase;
  }
}

/** A failure is told by its own line, which is an alert. */
function announcementOf({ phase }: Answer): string {
  switch (phase) {
    case "stopped":
      return "Stopped.";
    case "failed":
      return "";
    default:
      return "Answer complete.";
  }
}

/** Deletes conversations; what is being written in one of them ends. It can be undone, until others are deleted. */
export function remove(ids: readonly string[]): void {
  if (running.value !== null && ids.includes(running.value.conversation)) stop();
  takeOut(ids);
}
