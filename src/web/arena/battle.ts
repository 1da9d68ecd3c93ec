import type { Problem } from "../wire/problem.js";
import { envelopeSentence } from "../wire/problem.js";
import { field, fields, number, text } from "../wire/read.js";

export type Winner = "left" | "right" | "tie" | "bothBad";

export interface Revealed {
  readonly label: string;
  readonly model: string | null;
  /** Whether an adapter or control vectors steered it. */
  readonly isSteered: boolean;
  /** Of its adapter; null without one. */
  readonly strength: number | null;
}

/** One message to both, and what they have said to it so far. */
export interface Turn {
  readonly prompt: string;
  readonly left: string;
  readonly right: string;
}

/** What a vote, or a further turn, has to name. */
interface Open {
  readonly id: string;
  readonly ballot: string;
}

/** A blind battle as the page sees it: no name before the vote, which is on all of its turns. */
export type Battle = { readonly turns: readonly Turn[] } & (
  | { readonly phase: "answering" /** Null in the first turn. */; readonly open: Open | null }
  /** The vote may be cast, or something else asked. */
  | ({ readonly phase: "complete"; readonly problem: string | null } & Open)
  | ({ readonly phase: "voting"; readonly winner: Winner } & Open)
  | {
      readonly phase: "revealed";
      readonly winner: Winner;
      readonly names: Readonly<Record<"left" | "right", Revealed>>;
    }
  /** Nothing was stored, nothing can be voted on. */
  | { readonly phase: "void"; readonly sentence: string }
);

export function newBattle(prompt: string): Battle {
  return { phase: "answering", open: null, turns: [turnOf(prompt)] };
}

/** The battle with a further message on the way to both; unchanged where it takes none. */
export function withTurn(battle: Battle, prompt: string): Battle {
  if (battle.phase !== "complete") return battle;
  const { id, ballot, turns } = battle;
  return { phase: "answering", open: { id, ballot }, turns: [...turns, turnOf(prompt)] };
}

function turnOf(prompt: string): Turn {
  return { prompt, left: "", right: "" };
}

/** The battle after a frame of one of its streams. */
export function withFrame(battle: Battle, frame: unknown): Battle {
  if (battle.phase !== "answering") return battle;
  const { kind, side, text: content, id, ballot } = fields(frame);
  switch (kind) {
    case "text":
      return side === "left" || side === "right" ? withText(battle, side, text(content) ?? "") : battle;
    case "complete":
      return {
        phase: "complete",
        turns: battle.turns,
        id: text(id) ?? "",
        ballot: text(ballot) ?? "",
        problem: null,
      };
    case "void":
      return asVoid(battle, envelopeSentence(frame) ?? "This battle cannot be judged.");
    default: {
      const sentence = envelopeSentence(frame);
      return sentence === null ? battle : asVoid(battle, sentence);
    }
  }
}

function withText(battle: Battle, side: "left" | "right", content: string): Battle {
  const last = battle.turns.at(-1);
  if (last === undefined) return battle;
  return { ...battle, turns: [...battle.turns.slice(0, -1), { ...last, [side]: last[side] + content }] };
}

/** What came to nothing: the whole battle, or its last turn, without which it can be voted on. */
export function asVoid(battle: Battle, sentence: string): Battle {
  const { turns } = battle;
  if (battle.phase === "answering" && battle.open !== null) {
    return { phase: "complete", turns: turns.slice(0, -1), ...battle.open, problem: sentence };
  }
  return { phase: "void", turns, sentence };
}

/** @returns the battle while its vote is on the way; unchanged when there is nothing to vote on. */
export function castVote(battle: Battle, winner: Winner): Battle {
  if (battle.phase !== "complete") return battle;
  const { turns, id, ballot } = battle;
  return { phase: "voting", turns, id, ballot, winner };
}

/** The vote did not arrive: it may be cast again. */
export function withoutVote(battle: Battle, { sentence }: Problem): Battle {
  if (battle.phase !== "voting") return battle;
  const { turns, id, ballot } = battle;
  return { phase: "complete", turns, id, ballot, problem: `The vote was not stored. ${sentence}` };
}

/** @param record the server's answer to the vote: the battle with its names. */
export function reveal(battle: Battle, record: unknown): Battle {
  if (battle.phase !== "voting") return battle;
  const { turns, winner } = battle;
  const { left, right } = fields(record);
  return { phase: "revealed", turns, winner, names: { left: revealedSide(left), right: revealedSide(right) } };
}

function revealedSide(value: unknown): Revealed {
  const side = fields(value);
  const steering = fields(field(side, "steering"));
  return {
    label: text(field(side, "label")) ?? text(field(side, "contestant")) ?? "unknown",
    model: text(field(side, "model")),
    isSteered: Object.keys(steering).length > 0,
    strength: number(field(steering, "strength")),
  };
}
