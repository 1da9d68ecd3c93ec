import type { z } from "zod";
import { ToastError } from "../../errors.js";
import type { SteeringChoice } from "./contestant.js";

/** A model with what steers it, as a word names them. */
export interface SpelledStack {
  /** Id or folder, with its adapter where it has one. */
  readonly model: string;
  /** Null: as the model id says. */
  readonly steering: SteeringChoice | null;
}

/** `@strength`, or `@strength:from-to` with the layers. */
const dose = /@(?<strength>-?\d+(?:\.\d+)?)(?::(?<from>\d+)-(?<to>\d+))?$/;

/**
 * Reads `mine:alpaca@0.5+happy@0.8+formal@-0.5:8-14`: a model, its adapter behind a colon, control vectors behind plus
 * signs, and behind an `@` how strongly each steers, and in which layers. What is left out is the server's default.
 * @param steering what a request's steering may be.
 * @throws ToastError `invalid_option` in a sentence that shows the word.
 */
export function readStack(word: string, steering: z.ZodType<SteeringChoice>): SpelledStack {
  const [head = "", ...parts] = word.split("+");
  const adapter = readDose(head);
  if (adapter.name === "") throw invalid(word, "no model stands before the first '+' or '@'");
  const vectors = parts.map((part) => {
    const vector = readDose(part);
    if (vector.name === "") throw invalid(word, "each '+' needs the name of a control vector behind it");
    if (vector.name.includes("@")) {
      throw invalid(
        word,
        `'${part}' is no control vector: behind '@' stands a number, as in ${part.split("@")[0]}@0.8`,
      );
    }
    return vector;
  });
  const { name: model, ...adapterDose } = adapter;
  const chosen = { ...adapterDose, ...(vectors.length === 0 ? {} : { vectors }) };
  if (Object.keys(chosen).length === 0) return { model, steering: null };
  const parsed = steering.safeParse(chosen);
  if (parsed.success) return { model, steering: parsed.data };
  const [issue] = parsed.error.issues;
  throw invalid(
    word,
    `${subjectOf(issue?.path ?? [], vectors)} ${(issue?.message ?? "is not valid").replace(/\.$/, "")}`,
  );
}

/** @returns the word that {@link readStack} reads as this. */
export function spellStack({ model, steering }: SpelledStack): string {
  const { vectors = [], ...adapter } = steering ?? {};
  const spelled = vectors.map((vector) => `+${vector.name}${spellDose(vector)}`);
  return `${model}${spellDose(adapter)}${spelled.join("")}`;
}

interface Dose {
  readonly strength?: number;
  readonly layers?: [from: number, to: number];
}

function readDose(text: string): { readonly name: string } & Dose {
  const found = dose.exec(text);
  if (found === null) return { name: text };
  const { strength, from, to } = found.groups ?? {};
  return {
    name: text.slice(0, found.index),
    strength: Number(strength),
    ...(from === undefined ? {} : { layers: [Number(from), Number(to)] }),
  };
}

function spellDose({ strength, layers }: Dose): string {
  if (layers !== undefined) return `@${strength ?? 1}:${layers.join("-")}`;
  return strength === undefined ? "" : `@${strength}`;
}

/** What is wrong, in the word's own parts instead of the request's fields. */
function subjectOf(
  [field, index, part]: readonly PropertyKey[],
  vectors: readonly { readonly name: string }[],
): string {
  if (field !== "vectors") return `the adapter's ${String(field)}`;
  const vector = typeof index === "number" ? vectors[index] : undefined;
  return vector === undefined ? "a contestant" : `the ${String(part)} of '${vector.name}'`;
}

function invalid(word: string, what: string): ToastError {
  return new ToastError("invalid_option", `The contestant '${word.slice(0, 200)}' cannot be read: ${what}.`);
}
