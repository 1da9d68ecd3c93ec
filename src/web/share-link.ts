import { readSampling, type Sampling, samplingFields } from "./sampling-fields.js";
import { dialOf, type VectorDial } from "./vector-stack.js";

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

const start = "#/chat?";

/** The server's own bound of an adapter's strength. */
const mostStrength = 4;

/**
 * A fragment, which browsers keep to themselves: what was asked reaches no server by following the link. Words and
 * numbers as a query has them, so that a person can read and change them.
 */
export function shareFragment({ model, strength, vectors, systemPrompt, sampling, messages }: SharedPrompt): string {
  const query = new URLSearchParams({ model });
  if (strength !== null) query.set("strength", String(strength));
  for (const { name, strength, layers, fingerprint } of vectors) {
    query.append("vector", [name, strength, layers?.join("-") ?? "all", fingerprint ?? ""].join("*"));
  }
  for (const [name, value] of Object.entries(sampling)) if (value !== null) query.set(name, String(value));
  if (systemPrompt.trim() !== "") query.set("system", systemPrompt);
  for (const { role, content } of messages) query.append(role, content);
  return `${start}${query}`;
}

/** @returns null for a fragment that carries no prompt. */
export function readShareFragment(fragment: string): SharedPrompt | null {
  if (!fragment.startsWith(start)) return null;
  const query = new URLSearchParams(fragment.slice(start.length));
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
  const range = /^(\d+)-(\d+)$/.exec(layers)?.slice(1).map(Number) ?? [];
  return [{ name, ...dialOf(value, range), fingerprint: fingerprint === "" ? null : fingerprint }];
}

function numberOf(words: string | null): number | null {
  const value = words === null || words.trim() === "" ? Number.NaN : Number(words);
  return Number.isFinite(value) ? value : null;
}
