import type { Kind } from "../../leaderboard/board.js";
import type { BattleRecord, BattleSide } from "../battle-record.js";

/** What each contestant of some battles is to steering; nothing of those whose battles are not known. */
export function kindsOf(records: readonly BattleRecord[]): ReadonlyMap<string, Kind> {
  const sides = new Map(records.flatMap(({ left, right }) => [left, right]).map((side) => [side.contestant, side]));
  const steered = [...sides.values()].filter(isSteered);
  return new Map(
    [...sides].map(([contestant, side]) => {
      if (isSteered(side)) return [contestant, "steered"];
      // The base of what is steered here: an adapter's model is called after it, a control vector's is it.
      const isBase = steered.some(({ model }) => model === side.model || model?.startsWith(`${side.model}:`) === true);
      return [contestant, isBase ? "base" : "other"];
    }),
  );
}

function isSteered({ steering }: BattleSide): boolean {
  return steering !== null && ((steering.strength ?? 0) !== 0 || (steering.vectors ?? []).length > 0);
}

const variables: Readonly<Record<Kind, string>> = {
  base: "var(--base)",
  steered: "var(--steer)",
  other: "var(--other)",
  second: "var(--second)",
};

/** @returns the style of whatever shows a pair: `--win` is the colour of the first, `--loss` of the second. */
export function pairColours(kinds: ReadonlyMap<string, Kind>, a: string, b: string): Readonly<Record<string, string>> {
  const first = kinds.get(a) ?? "other";
  const second = kinds.get(b) ?? "other";
  return { "--win": variables[first], "--loss": variables[first === second ? "second" : second] };
}
