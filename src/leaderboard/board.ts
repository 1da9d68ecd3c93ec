/** A leaderboard as it is shown; null: not known. */
export interface Leaderboard {
  readonly battles: number;
  readonly confidence: number;
  readonly categories: readonly string[];
  readonly contestants: readonly Standing[];
  readonly pairs: readonly Pair[];
  readonly position: {
    readonly left: number;
    readonly right: number;
    readonly leftShare: number | null;
    readonly p: number | null;
  };
  readonly notes: readonly string[];
}

export interface Standing {
  readonly contestant: string;
  readonly rank: number;
  /** Not below `rank`: the votes leave it any place between. */
  readonly lastRank: number;
  readonly rating: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly group: number;
  readonly battles: number;
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
  readonly bothBad: number;
  readonly winRate: number | null;
  readonly lengthControlledWinRate: number | null;
  readonly meanCharacters: number | null;
}

export interface Pair {
  readonly a: string;
  readonly b: string;
  readonly wins: number;
  readonly losses: number;
  readonly ties: number;
  readonly bothBad: number;
  readonly winRate: number | null;
  readonly signTestP: number | null;
  readonly lengthControlledWinRate: number | null;
  readonly separable: boolean;
}

/** What a contestant is to steering, which is what colours it everywhere; `second` of two of one kind. */
export type Kind = "base" | "steered" | "other" | "second";

/** One cell of the win matrix: how `row` did against `column`. */
export interface Meeting {
  readonly winRate: number | null;
  readonly battles: number;
  readonly separable: boolean;
}

/** @returns null when the two never met. */
export function meetingOf(pairs: readonly Pair[], row: string, column: string): Meeting | null {
  const pair = pairs.find(({ a, b }) => (a === row && b === column) || (a === column && b === row));
  if (pair === undefined) return null;
  const winRate = pair.winRate === null || pair.a === row ? pair.winRate : 1 - pair.winRate;
  return { winRate, battles: pair.wins + pair.losses + pair.ties + pair.bothBad, separable: pair.separable };
}

/** @returns round tick values that cover the range, at most about `count` of them. */
export function ticks(low: number, high: number, count: number): readonly number[] {
  const rough = Math.max(high - low, 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  const first = Math.ceil(low / step);
  const last = Math.floor(high / step);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => (first + at) * step);
}

export function whole(value: number | null): string {
  return value === null ? "–" : String(Math.round(value));
}

/** @returns the places that the votes leave a contestant: "2", or "1–5". */
export function places({ rank, lastRank }: Pick<Standing, "rank" | "lastRank">): string {
  return lastRank > rank ? `${rank}–${lastRank}` : String(rank);
}

export function percent(share: number | null): string {
  return share === null ? "–" : `${(100 * share).toFixed(1)} %`;
}

/** @returns what stands behind "p". */
export function pValue(p: number): string {
  return p < 0.001 ? "< 0.001" : `= ${p.toFixed(3)}`;
}
