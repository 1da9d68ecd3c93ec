import { computed, signal } from "@preact/signals";
import { settings, strengthOf } from "../sampling.js";
import { drawSeed, samplingBody } from "../sampling-fields.js";
import { access, announcement, heedProblem, modelOf, models, vectorsOfRoot } from "../session.js";
import { knownOf, steeringBody, type VectorStack } from "../vector-stack.js";
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

/** Opens a conversation as somebody else had it, to go on with. */
export function openWith(messages: Conversation["messages"]): void {
  const [first] = messages;
  if (first === undefined) {
    newConversation();
    return;
  }
  const conversation = { id: newId(), title: titleOf(first.content), updatedAt: Date.now(), messages };
  show(conversation);
  save(conversation);
  currentId.value = conversation.id;
}

export function stop(): void {
  running.value?.stop.abort();
}

async function answerTo(
  conversation: Conversation,
  again: Pick<AssistantMessage, "seed" | "before"> | null = null,
): Promise<void> {
  const model = chosenModel.value;
  if (model === null) return;
  const { systemPrompt, sampling } = settings.value;
  const strength = strengthOf(model, settings.value.strength);
  const stack = chosenStack(model);
  const seed = again?.seed ?? sampling.seed ?? drawSeed();
  const message: AssistantMessage = {
    role: "assistant",
    content: "",
    model: model.id,
    strength,
    vectors: stack,
    systemPrompt,
    sampling,
    seed,
    before: again?.before ?? null,
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
    ...steeringBody(strength === null ? null : { strength }, stack),
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
