import { readSampling, type Sampling, samplingFields } from "./sampling-fields.js";
import { dialOf, type LayerRange, type VectorDial } from "./vector-stack.js";

/** All that an answer follows from, as a link carries it: whoever opens it on a server with the same gets its text. */
export interface SharedPrompt {
  /** Served id, with the adapter. */
  readonly model: string;
  /** Of the adapter; null for a model without one. */
  readonly strength: number | null;
  readonly vectors: readonly SharedVector[];
  readonly systemPrompt: string;
  /** With the seed. */
  readonly sampling: Sampling;
  /** The conversation up to the message to be answered, which is the last. */
  readonly messages: readonly SharedMessage[];
}

export interface SharedVector extends VectorDial {
  readonly name: string;
  /** Tells two vectors of one name apart; null where the link does not say. */
  readonly fingerprint: string | null;
}

export interface SharedMessage {
  readonly role: "user" | "assistant";
  readonly content: string;
}

/** What a link to the Steering view carries: the prompt, and which of the adapter's layers steer. */
export interface SharedSteering {
  readonly prompt: SharedPrompt;
  /** Null: all. */
  readonly layers: LayerRange | null;
}

const chatStart = "#/chat?";
export const steeringStart = "#/steering?";

/** The server's own bound of an adapter's strength. */
const mostStrength = 4;

/**
 * A fragment, which browsers keep to themselves: what was asked reaches no server by following the link. Words and
 * numbers as a query has them, so that a person can read and change them.
 */
export function shareFragment(prompt: SharedPrompt): string {
  return `${chatStart}${queryOf(prompt)}`;
}

/** The same for the Steering view, which answers twice when it is opened. */
export function steeringFragment({ prompt, layers }: SharedSteering): string {
  const query = queryOf(prompt);
  if (layers !== null) query.set("layers", layers.join("-"));
  return `${steeringStart}${query}`;
}

/** A link to an answer of the chat, as one that shows in the Steering view how it came about. */
export function inSteeringView(link: string): string {
  return link.replace(chatStart, steeringStart);
}

function queryOf({ model, strength, vectors, systemPrompt, sampling, messages }: SharedPrompt): URLSearchParams {
  const query = new URLSearchParams({ model });
  if (strength !== null) query.set("strength", String(strength));
  for (const { name, strength, layers, fingerprint } of vectors) {
    query.append("vector", [name, strength, layers?.join("-") ?? "all", fingerprint ?? ""].join("*"));
  }
  for (const [name, value] of Object.entries(sampling)) if (value !== null) query.set(name, String(value));
  if (systemPrompt.trim() !== "") query.set("system", systemPrompt);
  for (const { role, content } of messages) query.append(role, content);
  return query;
}

/** @returns null for a fragment that carries no prompt. */
export function readShareFragment(fragment: string): SharedPrompt | null {
  return fragment.startsWith(chatStart) ? readQuery(new URLSearchParams(fragment.slice(chatStart.length))) : null;
}

/** @returns null for a fragment that carries no prompt. */
export function readSteeringFragment(fragment: string): SharedSteering | null {
  if (!fragment.startsWith(steeringStart)) return null;
  const query = new URLSearchParams(fragment.slice(steeringStart.length));
  const prompt = readQuery(query);
  if (prompt === null) return null;
  const [from, to] = rangeOf(query.get("layers") ?? "");
  return { prompt, layers: from === undefined || to === undefined ? null : [from, to] };
}

function readQuery(query: URLSearchParams): SharedPrompt | null {
  const messages = [...query].flatMap(([role, content]): SharedMessage[] =>
    role === "user" || role === "assistant" ? [{ role, content }] : [],
  );
  const model = query.get("model");
  if (model === null || messages.at(-1)?.role !== "user") return null;
  const strength = numberOf(query.get("strength"));
  const given = samplingFields.flatMap(({ name, min, max }) => {
    const value = numberOf(query.get(name));
    return value === null ? [] : [[name, Math.min(max, Math.max(min, value))] as const];
  });
  return {
    model,
    strength: strength === null ? null : Math.min(mostStrength, Math.max(0, strength)),
    vectors: query.getAll("vector").flatMap(readVector),
    systemPrompt: query.get("system") ?? "",
    sampling: readSampling(Object.fromEntries(given), () => null),
    messages,
  };
}

function readVector(words: string): readonly SharedVector[] {
  const [name = "", strength, layers = "", fingerprint = ""] = words.split("*");
  const value = numberOf(strength ?? null);
  if (name === "" || value === null || value === 0) return [];
  return [{ name, ...dialOf(value, rangeOf(layers)), fingerprint: fingerprint === "" ? null : fingerprint }];
}

/** @returns both ends of `8-12`; nothing for what is no range. */
function rangeOf(words: string): readonly number[] {
  return /^(\d+)-(\d+)$/.exec(words)?.slice(1).map(Number) ?? [];
}

function numberOf(words: string | null): number | null {
  const value = words === null || words.trim() === "" ? Number.NaN : Number(words);
  return Number.isFinite(value) ? value : null;
}
