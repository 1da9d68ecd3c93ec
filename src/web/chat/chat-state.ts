import { computed, signal } from "@preact/signals";
import { settings, strengthOf } from "../sampling.js";
import { drawSeed, samplingBody } from "../sampling-fields.js";
import { access, announcement, heedProblem, modelOf, models, vectorsOfRoot } from "../session.js";
import { knownOf, steeringBody, type VectorStack } from "../vector-stack.js";
import { type Answer, paceOf } from "../wire/answer.js";
import { askChat } from "../wire/ask.js";
import { defaultModel, type ModelEntry } from "../wire/server.js";
import {
  type AssistantMessage,
  type Conversation,
  type Message,
  merged,
  titleOf,
  type UserMessage,
  wireMessages,
  withAnswerOf,
} from "./conversation.js";
import { HistoryStore, isConversationKey } from "./history-store.js";

const store = new HistoryStore(localStorage);

export const conversations = signal<readonly Conversation[]>(store.all());
export const currentId = signal<string | null>(null);
export const current = computed(() => conversations.value.find(({ id }) => id === currentId.value) ?? null);

/** The answer that is being written; one at a time. */
export const running = signal<{ readonly conversation: string; readonly stop: AbortController } | null>(null);

/** A sentence when the browser has no room for the history. */
export const storageProblem = signal<string | null>(null);

/** The model that the next answer will be of; null while none is known. */
export const chosenModel = computed<ModelEntry | null>(
  () => modelOf(settings.value.model) ?? defaultModel(models.value),
);

/** Starts a conversation with the next message. */
export function newConversation(): void {
  currentId.value = null;
}

/** @param seed null: as set, or drawn. */
export async function send(text: string, seed: number | null = null): Promise<void> {
  const content = text.trim();
  if (content === "" || running.value !== null) return;
  const known = current.value;
  const conversation: Conversation = known ?? {
    id: newId(),
    title: titleOf(content),
    updatedAt: Date.now(),
    messages: [],
    begin: null,
    removed: [],
  };
  currentId.value = conversation.id;
  const asked = { ...conversation, messages: [...conversation.messages, questionOf(content)] };
  await answerTo(asked, seed === null ? null : { seed, before: null });
}

/** Asks again for the last answer, failed or not. */
export async function regenerate(): Promise<void> {
  const conversation = current.value;
  if (conversation === null || running.value !== null) return;
  const { messages } = conversation;
  await answerTo({
    ...conversation,
    messages: messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages,
  });
}

function questionOf(content: string): UserMessage {
  return { role: "user", content, turn: newId() };
}

/**
 * Leaves what came before a turn out of what is sent from now on; it stays to be read.
 * @param turn null: all is sent.
 */
export function beginFrom(turn: string | null): void {
  const conversation = current.value;
  if (conversation === null) return;
  const changed = { ...conversation, begin: turn, updatedAt: Date.now() };
  show(changed);
  save(changed);
}

/** A turn that is still to come, to begin with. */
export function nextTurn(): string {
  return newId();
}

/** Sends another text in place of a user's message; what came after it is dropped. */
export async function resend(at: number, text: string): Promise<void> {
  const conversation = current.value;
  const content = text.trim();
  if (conversation === null || running.value !== null || content === "") return;
  const title = at === 0 ? titleOf(content) : conversation.title;
  const question = questionOf(content);
  const dropped = new Set(conversation.messages.slice(at).map(({ turn }) => turn));
  const { begin } = conversation;
  await answerTo({
    ...conversation,
    title,
    messages: [...conversation.messages.slice(0, at), question],
    begin: begin !== null && dropped.has(begin) ? question.turn : begin,
    removed: [...conversation.removed, ...dropped],
  });
}

/** The control vectors that the next answer of a model will have. */
export function chosenStack({ root }: ModelEntry): VectorStack {
  return knownOf(
    settings.value.vectors,
    vectorsOfRoot(root).map(({ name }) => name),
  );
}

/** The last answer of the open conversation, once it has ended; null where there is none. */
export const lastAnswer = computed<AssistantMessage | null>(() => {
  const last = current.value?.messages.at(-1);
  return last?.role === "assistant" && last.state !== "running" ? last : null;
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

/** Asks for the last answer again as it is steered now, from its own seed, and keeps what it said beside it. */
export async function answerAgain(): Promise<void> {
  const conversation = current.value;
  const last = lastAnswer.value;
  if (conversation === null || last === null || running.value !== null) return;
  const { content, model, strength, vectors } = last;
  await answerTo(
    { ...conversation, messages: conversation.messages.slice(0, -1) },
    { seed: last.seed, before: content === "" ? null : { content, model, strength, vectors } },
  );
}

/** Goes on with the last answer where it was cut off. */
export async function continueAnswer(): Promise<void> {
  const conversation = current.value;
  const last = lastAnswer.value;
  if (conversation === null || last === null || running.value !== null) return;
  const { seed, before, content } = last;
  await answerTo({ ...conversation, messages: conversation.messages.slice(0, -1) }, { seed, before, content });
}

/** Opens a conversation as somebody else had it, to go on with. */
export function openWith(messages: Conversation["messages"]): void {
  const [first] = messages;
  if (first === undefined) {
    newConversation();
    return;
  }
  const updatedAt = Date.now();
  const conversation = { id: newId(), title: titleOf(first.content), updatedAt, messages, begin: null, removed: [] };
  show(conversation);
  save(conversation);
  currentId.value = conversation.id;
}

export function stop(): void {
  running.value?.stop.abort();
}

async function answerTo(
  conversation: Conversation,
  again: (Pick<AssistantMessage, "seed" | "before"> & { readonly content?: string }) | null = null,
): Promise<void> {
  const model = chosenModel.value;
  if (model === null) return;
  const { systemPrompt, sampling } = settings.value;
  const strength = strengthOf(model, settings.value.strength);
  const begun = again?.content ?? "";
  const turn = conversation.messages.at(-1)?.turn ?? newId();
  const stack = chosenStack(model);
  const seed = again?.seed ?? sampling.seed ?? drawSeed();
  const message: AssistantMessage = {
    role: "assistant",
    content: begun,
    turn,
    askedAt: Date.now(),
    model: model.id,
    strength,
    vectors: stack,
    systemPrompt,
    sampling,
    seed,
    isContinued: begun !== "",
    before: again?.before ?? null,
    state: "running",
    problem: null,
    isTooLong: false,
    promptTokens: null,
    tokens: null,
    tokensPerSecond: null,
    firstTextMs: null,
  };
  const asked: Conversation = { ...conversation, updatedAt: Date.now(), messages: [...conversation.messages, message] };
  const own = { conversation: asked.id, stop: new AbortController() };
  running.value = own;
  announcement.value = "";
  show(asked);
  save(asked);
  const body = {
    model: model.id,
    messages: wireMessages(systemPrompt, begun === "" ? conversation : asked),
    ...(begun === "" ? {} : { continue_final_message: true, add_generation_prompt: false }),
    ...samplingBody(sampling, seed),
    ...steeringBody(strength === null ? null : { strength }, stack),
  };
  const answer = await askChat(access.value, body, own.stop.signal, (grown) => {
    show(grownBy(asked.id, turn, begun, grown));
  });
  running.value = null;
  // The stream broke because the page is left; what there was of the answer has been stored.
  if (isLeaving) return;
  const ended = grownBy(asked.id, turn, begun, answer);
  // Deleted while it ran: it stays so.
  if (ended !== null) save(ended);
  announcement.value = announcementOf(answer);
  if (answer.problem !== null) heedProblem(answer.problem);
}

function grownBy(id: string, turn: string, begun: string, answer: Answer): Conversation | null {
  const conversation = conversations.value.find((one) => one.id === id);
  if (conversation === undefined) return null;
  return {
    ...conversation,
    messages: withAnswerOf(conversation.messages, turn, (own) => withAnswer(own, begun, answer)),
  };
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

function show(conversation: Conversation | null): void {
  if (conversation === null) return;
  const others = conversations.value.filter(({ id }) => id !== conversation.id);
  conversations.value = [conversation, ...others].toSorted((a, b) => b.updatedAt - a.updatedAt);
}

/** With what another tab has put into it meanwhile. */
function save(conversation: Conversation): void {
  const other = store.get(conversation.id);
  const whole = other === null ? conversation : merged(conversation, other);
  if (other !== null) show(whole);
  storageProblem.value = store.put(whole)
    ? null
    : "The browser has no room left for this conversation: it will be gone when the page closes. Delete older ones, or export this one.";
}

export function rename(id: string, title: string): void {
  const conversation = conversations.value.find((one) => one.id === id);
  if (conversation === undefined || title.trim() === "") return;
  const renamed = { ...conversation, title: title.trim() };
  show(renamed);
  save(renamed);
}

export function remove(id: string): void {
  if (running.value?.conversation === id) stop();
  store.remove(id);
  conversations.value = conversations.value.filter((one) => one.id !== id);
  if (currentId.value === id) currentId.value = null;
}

let isLeaving = false;

/** Called once: other tabs write to the same history, and this one may be left in the middle of an answer. */
export function followOtherTabs(): void {
  addEventListener("storage", ({ key }) => {
    if (isConversationKey(key)) takeIn(store.all());
  });
  addEventListener("pagehide", () => {
    const conversation = conversations.value.find(({ id }) => id === running.value?.conversation);
    isLeaving = true;
    if (conversation !== undefined) save(conversation);
  });
  addEventListener("pageshow", () => {
    isLeaving = false;
  });
}

/** What is stored now, with what only this tab knows: two may have written at once, and one of them was too late. */
function takeIn(stored: readonly Conversation[]): void {
  conversations.value = stored.map((other) => {
    const own = conversations.value.find(({ id }) => id === other.id);
    if (own === undefined) return other;
    const whole = merged(own, other);
    if (holdsMore(whole, other)) store.put(whole);
    return whole;
  });
}

/** Whether a turn of the one is not in the other, or has ended here while it is cut off there. */
function holdsMore(one: Conversation, other: Conversation): boolean {
  return one.messages.some((message) => {
    const there = other.messages.find(({ turn, role }) => turn === message.turn && role === message.role);
    if (there === undefined) return true;
    return isCutOff(there) && !isCutOff(message) && message.role === "assistant" && message.state !== "running";
  });
}

function isCutOff(message: Message): boolean {
  return message.role === "assistant" && message.state === "interrupted";
}

/** Sorts by the time it was made. Not crypto.randomUUID: on a plain-http address of the local network there is none. */
function newId(): string {
  return `${Date.now().toString(36)}-${drawSeed().toString(36)}`;
}
