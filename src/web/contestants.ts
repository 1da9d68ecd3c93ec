import type { VectorStack } from "./vector-stack.js";
import { type Access, callJson } from "./wire/call.js";
import { field, fields, list, text } from "./wire/read.js";

/** Who can be compared: what is served here, and what the server's operator has added. */
export interface Contestant {
  readonly id: string;
  readonly label: string;
  readonly kind: "served" | "remote";
}

/** @throws ProblemError as the wire's calls do. */
export async function readContestants(access: Access): Promise<readonly Contestant[]> {
  const body = await callJson(access, "/v1/contestants");
  return list(field(body, "data")).flatMap((item): readonly Contestant[] => {
    const { id, label, kind } = fields(item);
    if (typeof id !== "string") return [];
    return [{ id, label: text(label) ?? id, kind: kind === "remote" ? "remote" : "served" }];
  });
}

/** One of two who are compared, and what steers it. */
export interface StackChoice {
  /** Empty: the page chooses. */
  readonly contestant: string;
  /** Of its adapter; null: the recommended one. */
  readonly strength: number | null;
  readonly vectors: VectorStack;
}

export const nothingChosen: StackChoice = { contestant: "", strength: null, vectors: {} };

/** @returns the word by which the arena knows the stack: `mine:alpaca@0.5+happy@0.8:8-12`. */
export function spelled(id: string, strength: number | null, vectors: VectorStack): string {
  const words = Object.entries(vectors).map(
    ([name, dial]) => `+${name}@${dial.strength}${dial.layers === null ? "" : `:${dial.layers.join("-")}`}`,
  );
  return `${id}${strength === null ? "" : `@${strength}`}${words.join("")}`;
}
