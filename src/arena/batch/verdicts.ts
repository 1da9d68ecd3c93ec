import { z } from "zod";
import { ToastError } from "../../errors.js";
import { type BattleRecord, charactersOfAll, placesOf, recordFromWire } from "../battle-record.js";
import type { Pair } from "../battles/two-answers.js";
import type { Match } from "../ratings/match.js";
import { type Item, readItems } from "./json-lines.js";
import {
  charactersSaid,
  nameless,
  type OutsideVerdict,
  outsideVerdicts,
  turnedVerdict,
  type Verdict,
} from "./outside-verdicts.js";
import type { BatchPrompt } from "./prompt-set.js";

/** @throws ToastError `file_missing`, `invalid_option` */
export async function readVerdicts(path: string): Promise<readonly OutsideVerdict[]> {
  return [...outsideVerdicts(await readItems(path), "invalid_option")];
}

/** Of a prompt's turn, by which its verdict is found. */
export function verdictKey(promptId: string, turn: number): string {
  return JSON.stringify([promptId, turn]);
}

export interface VerdictsOnPrompts {
  /** By {@link verdictKey}. */
  readonly verdicts: ReadonlyMap<string, Verdict>;
  /** What was left out, in sentences. */
  readonly remarks: readonly string[];
}

/**
 * The verdicts on the answers of two contestants to a set of prompts, found by the prompts' ids or words and by the
 * turn. Those that name others are left out, those that name the two the other way round are turned.
 * @throws ToastError `invalid_option` for a second verdict on the same, one that does not say which turn of several it
 *   is on, and where none is on these prompts, or on these two.
 */
export function verdictsOn(
  said: readonly OutsideVerdict[],
  prompts: readonly BatchPrompt[],
  names: Pair<string>,
): VerdictsOnPrompts {
  const ours = said.flatMap((verdict) => {
    const { left, right } = verdict;
    if (left === null || right === null || (left === names.left && right === names.right)) return [verdict];
    if (left !== names.right || right !== names.left) return [];
    return [{ ...verdict, ...turnedVerdict(verdict) }];
  });
  if (ours.length === 0 && said.length > 0) throw ofOthers(said, names);
  const byId = new Map(prompts.map((prompt) => [prompt.id, prompt]));
  const byWords = new Map(prompts.map((prompt) => [wordsOf(prompt), prompt]));
  const verdicts = new Map<string, Verdict>();
  const stray: string[] = [];
  let unasked = 0;
  for (const verdict of ours) {
    const { where, promptId, words, winner, judge, details } = verdict;
    if (promptId === null && words === null) {
      throw new ToastError("invalid_option", `${where} does not say which prompt it is of: it needs 'id'.`);
    }
    const prompt = promptId === null ? byWords.get(words?.trim() ?? "") : byId.get(promptId);
    if (prompt === undefined) {
      stray.push(promptId ?? words ?? "");
      continue;
    }
    const turn = verdict.turn ?? (prompt.turns.length === 0 ? 1 : null);
    if (turn === null) {
      const message = `${where} does not say which turn it is of: the prompt '${prompt.id}' has ${prompt.turns.length + 1}, and each is judged. It needs 'turn'.`;
      throw new ToastError("invalid_option", message);
    }
    if (turn > prompt.turns.length + 1) {
      unasked++;
      continue;
    }
    const key = verdictKey(prompt.id, turn);
    if (verdicts.has(key)) {
      const which = prompt.turns.length === 0 ? "" : `, turn ${turn}`;
      const message = `${where} is the second verdict on the prompt '${prompt.id}'${which}: a battle takes one. 'ab rate' counts all.`;
      throw new ToastError("invalid_option", message);
    }
    verdicts.set(key, { winner, judge, details });
  }
  const remarks = [
    ...(stray.length === 0 ? [] : [strays(stray, ours.length, prompts)]),
    ...(unasked === 0 ? [] : [`${unasked} of ${ours.length} verdicts are on turns that are not asked.`]),
    ...(ours.length === said.length ? [] : [`${said.length - ours.length} verdicts are on other contestants.`]),
  ];
  return { verdicts, remarks };
}

/** @throws ToastError `invalid_option` when no verdict is on any of the prompts. */
function strays(stray: readonly string[], all: number, prompts: readonly BatchPrompt[]): string {
  const message = `${stray.length} of ${all} verdicts are on none of the ${prompts.length} prompts: ${someOf(stray)}`;
  if (stray.length < all) return `${message}.`;
  const known = prompts.map(({ id }) => id);
  throw new ToastError("invalid_option", `${message}. The prompts are called ${someOf(known)}.`);
}

function ofOthers(said: readonly OutsideVerdict[], names: Pair<string>): ToastError {
  const others = [...new Set(said.flatMap(({ left, right }) => [left ?? "", right ?? ""]))];
  const message = `None of the ${said.length} verdicts is on '${names.left}' and '${names.right}': they are on ${someOf(others)}. --contestants gives contestants other names.`;
  return new ToastError("invalid_option", message);
}

function someOf(names: readonly string[]): string {
  const shown = names.slice(0, 5).map((name) => `'${name.length > 60 ? `${name.slice(0, 60)}…` : name}'`);
  return `${shown.join(", ")}${names.length > shown.length ? " …" : ""}`;
}

function wordsOf({ messages }: BatchPrompt): string {
  return messages.findLast(({ role }) => role === "user")?.content.trim() ?? "";
}

/** A match of any file, with the record where there is one. */
export interface RatedItem {
  readonly match: Match;
  readonly category: string | null;
  /** After how many turns it was judged; null: nobody says. */
  readonly turn: number | null;
  readonly record: BattleRecord | null;
}

/**
 * What can be rated of a file: records of the arena or of `ab` (those with a vote), or verdicts that name both
 * contestants, ours, FastChat's or AlpacaEval's.
 * @throws ToastError `file_missing`, `invalid_option`, `invalid_request`
 */
export async function readRatedItems(path: string): Promise<readonly RatedItem[]> {
  const items = await readItems(path);
  const records = items.filter(isRecord).flatMap(ratedRecord);
  const others = items.filter((item) => !isRecord(item));
  return [...records, ...[...outsideVerdicts(others, "invalid_option")].map(ratedVerdict)];
}

function ratedRecord({ value, where }: Item): readonly RatedItem[] {
  const record = recordFromWire(value, where);
  return record.vote === null ? [] : [ratedItem(record, record.vote)];
}

function ratedVerdict(verdict: OutsideVerdict): RatedItem {
  const { left, right, winner, category, turn, conversations, details, where } = verdict;
  if (left === null || right === null) throw nameless(where, "invalid_option");
  const match: Match = {
    left,
    right,
    winner,
    leftCharacters: charactersSaid(conversations?.left),
    rightCharacters: charactersSaid(conversations?.right),
    places: details?.places ?? [winner],
  };
  return { match, category, turn, record: null };
}

function isRecord({ value }: Item): boolean {
  return z.looseObject({ left: z.looseObject({}), right: z.looseObject({}) }).safeParse(value).success;
}

export function ratedItem(record: BattleRecord, vote: NonNullable<BattleRecord["vote"]>): RatedItem {
  return {
    match: {
      left: record.left.contestant,
      right: record.right.contestant,
      winner: vote.winner,
      leftCharacters: charactersOfAll(record, "left"),
      rightCharacters: charactersOfAll(record, "right"),
      places: placesOf(vote),
    },
    category: record.category,
    turn: turnOf(record, vote),
    record,
  };
}

/** After how many turns a battle was judged; a verdict without its texts says so itself. */
function turnOf(record: BattleRecord, { details }: NonNullable<BattleRecord["vote"]>): number {
  const told = z.looseObject({ turn: z.number() }).safeParse(details);
  return told.success ? told.data.turn : record.turns.length + 1;
}

/** Those that were judged after one turn, after two …; nothing where all are alike, or there are too many kinds. */
export function byTurns(
  items: readonly RatedItem[],
): readonly { readonly turn: number; readonly items: readonly RatedItem[] }[] {
  const turns = [...new Set(items.flatMap(({ turn }) => (turn === null ? [] : [turn])))].toSorted((a, b) => a - b);
  if (turns.length < 2 || turns.length > mostTurnsTold) return [];
  return turns.map((turn) => ({ turn, items: items.filter((item) => item.turn === turn) }));
}

/** People's conversations in an arena have as many turns as they like. */
const mostTurnsTold = 4;
