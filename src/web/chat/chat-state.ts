import { computed, signal } from "@preact/signals";
import { drawSeed, samplingBody, settings } from "../sampling.js";
import { access, announcement, heedProblem, modelOf, models, vectors } from "../session.js";
import { type Answer, paceOf } from "../wire/answer.js";
import { askChat } from "../wire/ask.js";
import { defaultModel, type ModelEntry } from "../wire/server.js";
import { type AssistantMessage, type Conversation, titleOf, wireMessages, withLast } from "./conversation.js";
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

export async function send(text: string): Promise<void> {
  const content = text.trim();
  if (content === "" || running.value !== null) return;
  const known = current.value;
  const conversation: Conversation = known ?? {
    id: newId(),
    title: titleOf(content),
    updatedAt: Date.now(),
    messages: [],
  };
  currentId.value = conversation.id;
  await answerTo({ ...conversation, messages: [...conversation.messages, { role: "user", content }] });
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

/** Sends another text in place of a user's message; what came after it is dropped. */
export async function resend(at: number, text: string): Promise<void> {
  const conversation = current.value;
  const content = text.trim();
  if (conversation === null || running.value !== null || content === "") return;
  const title = at === 0 ? titleOf(content) : conversation.title;
  await answerTo({
    ...conversation,
    title,
    messages: [...conversation.messages.slice(0, at), { role: "user", content }],
  });
}

/** The control vectors of a model's base that are turned up or down, with their strengths. */
function stackFor({ root }: ModelEntry): Readonly<Record<string, number>> {
  const known = vectors.value.filter((vector) => vector.root === root).map(({ name }) => name);
  return Object.fromEntries(Object.entries(settings.value.vectors).filter(([name]) => known.includes(name)));
}

function steeringBody({ adapter }: ModelEntry, strength: number, stack: Readonly<Record<string, number>>): object {
  const stacked = Object.entries(stack).map(([name, value]) => ({ name, strength: value }));
  if (adapter === null && stacked.length === 0) return {};
  return {
    steering: {
      ...(adapter === null ? {} : { strength }),
      ...(stacked.length === 0 ? {} : { vectors: stacked }),
    },
  };
}

export function stop(): void {
  running.value?.stop.abort();
}

async function answerTo(conversation: Conversation): Promise<void> {
  const model = chosenModel.value;
  if (model === null) return;
  const { strength, systemPrompt, sampling } = settings.value;
  const stack = stackFor(model);
  const seed = sampling.seed ?? drawSeed();
  const message: AssistantMessage = {
    role: "assistant",
    content: "",
    model: model.id,
    strength: model.adapter === null ? null : strength,
    vectors: stack,
    seed,
    state: "running",
    problem: null,
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
    messages: wireMessages(systemPrompt, conversation.messages),
    ...samplingBody(sampling, seed),
    ...steeringBody(model, strength, stack),
  };
  const answer = await askChat(access.value, body, own.stop.signal, (grown) => {
    show(grownBy(asked.id, grown));
  });
  running.value = null;
  const ended = grownBy(asked.id, answer);
  // Deleted while it ran: it stays so.
  if (ended !== null) save(ended);
  announcement.value = announcementOf(answer);
  if (answer.problem !== null) heedProblem(answer.problem);
}

function grownBy(id: string, answer: Answer): Conversation | null {
  const conversation = conversations.value.find((one) => one.id === id);
  if (conversation === undefined) return null;
  return { ...conversation, messages: withLast(conversation.messages, (last) => withAnswer(last, answer)) };
}

function withAnswer(message: AssistantMessage, answer: Answer): AssistantMessage {
  return {
    ...message,
    content: answer.text,
    state: stateOf(answer),
    problem: answer.problem?.sentence ?? null,
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

function save(conversation: Conversation): void {
  storageProblem.value = store.put(conversation)
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

/** Called once: other tabs write to the same history. */
export function followOtherTabs(): void {
  addEventListener("storage", ({ key }) => {
    if (isConversationKey(key) && running.value === null) conversations.value = store.all();
  });
}

/** Not crypto.randomUUID: on a plain-http address of the local network there is none. */
function newId(): string {
  return `${Date.now().toString(36)}-${drawSeed().toString(36)}`;
}
