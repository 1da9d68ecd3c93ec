import { computed, effect, signal } from "@preact/signals";
import { type Settings, settings } from "../sampling.js";
import { samplingFields } from "../sampling-fields.js";
import { modelOf, models, phase, vectors, vectorsOfRoot } from "../session.js";
import { readShareFragment, type SharedPrompt, shareFragment } from "../share-link.js";
import { number } from "../wire/read.js";
import type { ModelEntry } from "../wire/server.js";
import { chatAddress } from "./chat-address.js";
import { openWith, running, thread } from "./chat-state.js";
import { draft } from "./composer-draft.js";
import { type AssistantMessage, type Message, sentMessages } from "./conversation.js";
import { current, currentId } from "./history/conversations.js";

interface Shared {
  readonly prompt: SharedPrompt;
  /** Settings as they were. */
  readonly before: Settings;
  /** That it has opened; null: the one that begins with the next message. */
  readonly conversation: string | null;
}

const opened = signal<Shared | null>(null);

/** What a link has filled the page with, in the conversation that it belongs to. */
export const shared = computed(() => (opened.value?.conversation === currentId.value ? opened.value : null));

/** Why the text may come out otherwise than it was shared, in sentences; empty where nothing speaks against it. */
export const sharedProblems = computed<readonly string[]>(() => {
  if (shared.value === null || phase.value.kind !== "ready" || models.value.length === 0) return [];
  return problemsOf(shared.value.prompt);
});

/** @returns what of a link's prompt this server lacks, and so would answer otherwise. */
export function problemsOf({ model, vectors: wanted }: SharedPrompt): readonly string[] {
  const served = modelOf(model);
  if (served === null) {
    return [`The link is for the model '${model}', which is not served here. Another model writes another text.`];
  }
  return wanted.flatMap(({ name, fingerprint }) => {
    const own = vectorsOfRoot(served.root).find((vector) => vector.name === name);
    if (own === undefined) {
      return `The link uses the control vector '${name}', which this server does not have for ${served.root}: without it the text will be another. Make it under Vectors, or put its .gguf file into the server's vectors folder.`;
    }
    if (fingerprint !== null && own.fingerprint !== null && fingerprint !== own.fingerprint) {
      return `The control vector '${name}' of this server is not the one of the link, only its name is the same: the text may be another.`;
    }
    return [];
  });
}

/** Called once: fills the page with what the address carries, now and whenever it changes. */
export function startSharedLinks(): void {
  addEventListener("hashchange", openShared);
  effect(() => {
    const begun = running.value?.conversation ?? null;
    const waiting = opened.peek();
    if (begun !== null && waiting?.conversation === null) opened.value = { ...waiting, conversation: begun };
  });
  openShared();
}

function openShared(): void {
  const prompt = readShareFragment(location.hash);
  if (prompt === null) return;
  const before = opened.value?.before ?? settings.value;
  settings.value = {
    model: prompt.model,
    strength: prompt.strength ?? settings.value.strength,
    vectors: Object.fromEntries(prompt.vectors.map(({ name, strength, layers }) => [name, { strength, layers }])),
    systemPrompt: prompt.systemPrompt,
    sampling: prompt.sampling,
  };
  openWith(prompt.messages.slice(0, -1).map((message, at) => messageOf(message, at, prompt)));
  // A reload must not fill in again what has been changed since.
  history.replaceState(null, "", chatAddress());
  opened.value = { prompt, before, conversation: currentId.value };
  draft.value = prompt.messages.at(-1)?.content ?? "";
}

/** Settings as they were before the link. */
export function putBack(): void {
  if (opened.value === null) return;
  settings.value = opened.value.before;
  if (opened.value.conversation === null) draft.value = "";
  opened.value = null;
}

function messageOf({ role, content }: SharedPrompt["messages"][number], at: number, prompt: SharedPrompt): Message {
  const turnOf = (place: number) => `0-${String(place).padStart(6, "0")}`;
  const turn = turnOf(at);
  const tree = { id: turn, parent: at === 0 ? null : turnOf(at - 1), turn };
  if (role === "user") return { ...tree, role, content, attachments: [] };
  const { model, strength, systemPrompt, vectors } = prompt;
  return {
    ...tree,
    role,
    content,
    askedAt: 0,
    isContinued: false,
    model,
    strength,
    vectors: Object.fromEntries(vectors.map(({ name, strength, layers }) => [name, { strength, layers }])),
    systemPrompt,
    // Nobody says how it was sampled; it may be another's.
    sampling: null,
    seed: prompt.sampling.seed ?? 0,
    before: null,
    state: "done",
    problem: null,
    isTooLong: false,
    promptTokens: null,
    tokens: null,
    tokensPerSecond: null,
    firstTextMs: null,
  };
}

/**
 * @returns what writes a link to an answer that is shown in the open conversation; null where not all is known that
 * made it: it came by a link itself, in pieces, or of a model that is gone.
 */
export function linkTo(answer: AssistantMessage): (() => string) | null {
  const { sampling } = answer;
  const model = modelOf(answer.model);
  if (sampling === null || answer.isContinued || model === null) return null;
  return () => {
    // Those that were sent, and no others: refused questions and what came before the beginning made no difference.
    const above = thread.value.slice(0, thread.value.indexOf(answer));
    const messages = sentMessages(above, current.value?.cuts ?? []);
    return `${location.origin}${location.pathname}${shareFragment({ ...promptOf(answer, sampling, model), messages })}`;
  };
}

function promptOf(
  { strength, vectors: stack, systemPrompt, seed }: AssistantMessage,
  sampling: NonNullable<AssistantMessage["sampling"]>,
  model: ModelEntry,
): Omit<SharedPrompt, "messages"> {
  // What was left to the server is what its model recommends; another server may have other words on it.
  const resolved = samplingFields.map(({ name }) => [name, sampling[name] ?? number(model.sampling[name])] as const);
  const used = vectors.value.filter(({ root }) => root === model.root);
  return {
    model: model.id,
    strength,
    vectors: Object.entries(stack).map(([name, dial]) => ({
      ...dial,
      name,
      fingerprint: used.find((vector) => vector.name === name)?.fingerprint ?? null,
    })),
    systemPrompt,
    sampling: { ...(Object.fromEntries(resolved) as typeof sampling), seed },
  };
}
