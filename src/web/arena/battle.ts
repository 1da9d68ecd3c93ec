import type { Problem } from "../wire/problem.js";
import { envelopeSentence } from "../wire/problem.js";
import { field, fields, number, text } from "../wire/read.js";

export type Winner = "left" | "right" | "tie" | "bothBad";

export interface Revealed {
  readonly label: string;
  readonly strength: number | null;
  readonly completionTokens: number | null;
}

/** A blind battle as the page sees it: no name before the vote. */
export type Battle = {
  readonly prompt: string;
  readonly left: string;
  readonly right: string;
} & (
  | { readonly phase: "answering" }
  /** The vote may be cast. */
  | { readonly phase: "complete"; readonly id: string; readonly ballot: string; readonly problem: string | null }
  | { readonly phase: "voting"; readonly id: string; readonly ballot: string; readonly winner: Winner }
  | {
      readonly phase: "revealed";
      readonly winner: Winner;
      readonly names: Readonly<Record<"left" | "right", Revealed>>;
    }
  /** Nothing was stored, nothing can be voted on. */
  | { readonly phase: "void"; readonly sentence: string }
);

export function newBattle(prompt: string): Battle {
  return { phase: "answering", prompt, left: "", right: "" };
}

/** The battle after a frame of POST /v1/arena/battles. */
export function withFrame(battle: Battle, frame: unknown): Battle {
  if (battle.phase !== "answering") return battle;
  const { kind, side, text: content, id, ballot } = fields(frame);
  switch (kind) {
    case "text":
      return side === "left" || side === "right" ? { ...battle, [side]: battle[side] + (text(content) ?? "") } : battle;
    case "complete":
      return { ...battle, phase: "complete", id: text(id) ?? "", ballot: text(ballot) ?? "", problem: null };
    case "void":
      return asVoid(battle, envelopeSentence(frame) ?? "This battle cannot be judged.");
    default: {
      const sentence = envelopeSentence(frame);
      return sentence === null ? battle : asVoid(battle, sentence);
    }
  }
}

export function asVoid({ prompt, left, right }: Battle, sentence: string): Battle {
  return { phase: "void", prompt, left, right, sentence };
}

/** @returns the battle while its vote is on the way; unchanged when there is nothing to vote on. */
export function castVote(battle: Battle, winner: Winner): Battle {
  if (battle.phase !== "complete") return battle;
  const { prompt, left, right, id, ballot } = battle;
  return { phase: "voting", prompt, left, right, id, ballot, winner };
}

/** The vote did not arrive: it may be cast again. */
export function withoutVote(battle: Battle, { sentence }: Problem): Battle {
  if (battle.phase !== "voting") return battle;
  const { prompt, left, right, id, ballot } = battle;
  return { phase: "complete", prompt, left, right, id, ballot, problem: sentence };
}

/** @param record the server's answer to the vote: the battle with its names. */
export function reveal(battle: Battle, record: unknown): Battle {
  if (battle.phase !== "voting") return battle;
  const { prompt, left, right, winner } = battle;
  const { left: leftSide, right: rightSide } = fields(record);
  return {
    phase: "revealed",
    prompt,
    left,
    right,
    winner,
    names: { left: revealedSide(leftSide), right: revealedSide(rightSide) },
  };
}

function revealedSide(value: unknown): Revealed {
  const side = fields(value);
  return {
    label: text(field(side, "label")) ?? text(field(side, "contestant")) ?? "unknown",
    strength: number(field(side, "steering", "strength")),
    completionTokens: number(field(side, "completion_tokens")),
  };
}
