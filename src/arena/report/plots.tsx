import { percent } from "../../leaderboard/board.js";
import type { Tally } from "../ratings/leaderboard.js";

const width = 640;
const labelWidth = 200;

/** Wins, ties and losses of one contestant against another, a bar for each category. */
export function OutcomesPlot({
  rows,
}: {
  readonly rows: readonly { readonly label: string; readonly tally: Tally }[];
}) {
  const rowHeight = 32;
  const full = width - labelWidth - 60;
  return (
    <svg
      viewBox={`0 0 ${width} ${rowHeight * rows.length + 4}`}
      role="img"
      aria-label="Wins, ties and losses by category"
    >
      {rows.map(({ label, tally }, index) => {
        const y = rowHeight * index + 4;
        return (
          <g key={label}>
            <text class="end" x={labelWidth - 12} y={y + 16}>
              {shortened(label)}
            </text>
            {partsOf(tally, full).map(({ kind, count, words, from, size }) => (
              <g key={kind}>
                <rect class={kind} x={labelWidth + from} y={y} width={Math.max(0, size - 1)} height={22} rx={2}>
                  <title>{`${count} ${words}`}</title>
                </rect>
                {size > 22 ? (
                  <text class={`inside middle ${kind}`} x={labelWidth + from + size / 2} y={y + 16}>
                    {count}
                  </text>
                ) : null}
              </g>
            ))}
            <text class="quiet" x={labelWidth + full + 8} y={y + 16}>
              {percent(tally.winRate)}
            </text>
          </g>
        );
      })}
    </svg>
  );
}

function partsOf({ wins, ties, bothBad, losses }: Tally, full: number) {
  const total = wins + losses + ties + bothBad;
  const parts = [
    { kind: "win", count: wins, words: "wins" },
    { kind: "tie", count: ties, words: "ties" },
    { kind: "bad", count: bothBad, words: "both bad" },
    { kind: "loss", count: losses, words: "losses" },
  ];
  let reached = 0;
  return parts.flatMap((part) => {
    const size = total === 0 ? 0 : (part.count / total) * full;
    const from = reached;
    reached += size;
    return size === 0 ? [] : [{ ...part, from, size }];
  });
}

export interface LengthPoint {
  readonly left: number;
  readonly right: number;
  readonly outcome: "win" | "loss" | "tie";
}

/** Lengths of both answers to each prompt: a point on the diagonal is a pair of equal length. */
export function LengthsPlot({
  points,
  left,
  right,
}: {
  readonly points: readonly LengthPoint[];
  readonly left: string;
  readonly right: string;
}) {
  const size = 320;
  const origin = 56;
  const most = Math.max(10, ...points.flatMap((point) => [point.left, point.right]));
  const scale = (characters: number) =>
    (Math.log10(characters + 1) / Math.log10(most * 1.1 + 1)) * (size - origin - 10);
  const x = (characters: number) => origin + scale(characters);
  const y = (characters: number) => size - origin - scale(characters);
  return (
    <svg class="square" viewBox={`0 0 ${size} ${size}`} role="img" aria-label="Lengths of both answers">
      {[10, 100, 1000, 10_000]
        .filter((tick) => tick <= most)
        .map((tick) => (
          <g key={tick}>
            <line class="grid-line" x1={x(tick)} x2={x(tick)} y1={10} y2={size - origin} />
            <line class="grid-line" x1={origin} x2={size - 10} y1={y(tick)} y2={y(tick)} />
            <text class="quiet middle" x={x(tick)} y={size - origin + 18}>
              {tick}
            </text>
            <text class="quiet end" x={origin - 8} y={y(tick) + 4}>
              {tick}
            </text>
          </g>
        ))}
      <line class="axis" x1={x(0)} y1={y(0)} x2={x(most)} y2={y(most)} />
      {points.map((point, at) => (
        <circle key={at} class={`point ${point.outcome}`} cx={x(point.left)} cy={y(point.right)} r={4} />
      ))}
      <text class="quiet middle" x={origin + (size - origin) / 2} y={size - 14}>
        {shortened(left)}, characters
      </text>
      <text class="quiet middle" transform={`translate(14 ${(size - origin) / 2}) rotate(-90)`}>
        {shortened(right)}, characters
      </text>
    </svg>
  );
}

function shortened(name: string): string {
  return name.length <= 26 ? name : `${name.slice(0, 12)}…${name.slice(-12)}`;
}
