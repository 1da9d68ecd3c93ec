import type { Standing, Tally } from "../ratings/leaderboard.js";
import { html, type Markup } from "./html.js";

const width = 640;
const labelWidth = 200;

/** Ratings with their intervals, best first, on one axis. */
export function ratingsPlot(standings: readonly Standing[]): Markup {
  const rowHeight = 34;
  const height = rowHeight * standings.length + 34;
  const low = Math.min(...standings.map((standing) => standing.low), 1000);
  const high = Math.max(...standings.map((standing) => standing.high), 1000);
  const margin = Math.max(10, (high - low) * 0.05);
  const x = (rating: number) =>
    labelWidth + ((rating - low + margin) / (high - low + 2 * margin)) * (width - labelWidth - 20);
  const ticks = ticksBetween(low - margin, high + margin);
  const bottom = rowHeight * standings.length;
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Ratings with 95 % intervals">
${ticks.map(
  (tick) => html`<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="0" y2="${bottom}"/>
<text class="tick" x="${x(tick)}" y="${bottom + 20}" text-anchor="middle">${tick}</text>`,
)}
${standings.map((standing, index) => {
  const y = rowHeight * (index + 0.5);
  return html`<text class="name" x="${labelWidth - 12}" y="${y + 5}" text-anchor="end">${shortened(standing.contestant)}</text>
<line class="interval" x1="${x(standing.low)}" x2="${x(standing.high)}" y1="${y}" y2="${y}"/>
<line class="interval" x1="${x(standing.low)}" x2="${x(standing.low)}" y1="${y - 6}" y2="${y + 6}"/>
<line class="interval" x1="${x(standing.high)}" x2="${x(standing.high)}" y1="${y - 6}" y2="${y + 6}"/>
<circle class="rating" cx="${x(standing.rating)}" cy="${y}" r="6"><title>${Math.round(standing.rating)} (${Math.round(standing.low)} to ${Math.round(standing.high)})</title></circle>`;
})}
</svg>`;
}

/** Wins, ties and losses of one contestant against another, a bar for each category. */
export function outcomesPlot(rows: readonly { readonly label: string; readonly tally: Tally }[]): Markup {
  const rowHeight = 32;
  const height = rowHeight * rows.length + 4;
  const full = width - labelWidth - 60;
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Wins, ties and losses by category">
${rows.map(({ label, tally }, index) => {
  const total = tally.wins + tally.losses + tally.ties + tally.bothBad;
  const y = rowHeight * index + 4;
  const parts = [
    { kind: "win", count: tally.wins, words: "wins" },
    { kind: "tie", count: tally.ties, words: "ties" },
    { kind: "bad", count: tally.bothBad, words: "both bad" },
    { kind: "loss", count: tally.losses, words: "losses" },
  ];
  let from = labelWidth;
  return html`<text class="name" x="${labelWidth - 12}" y="${y + 16}" text-anchor="end">${shortened(label)}</text>
${parts.map(({ kind, count, words }) => {
  const size = total === 0 ? 0 : (count / total) * full;
  const start = from;
  from += size;
  if (size === 0) return html``;
  return html`<rect class="${kind}" x="${start}" y="${y}" width="${Math.max(0, size - 1)}" height="22" rx="2"><title>${count} ${words}</title></rect>
${size > 22 ? html`<text class="inside ${kind}" x="${start + size / 2}" y="${y + 16}" text-anchor="middle">${count}</text>` : null}`;
})}
<text class="tick" x="${labelWidth + full + 8}" y="${y + 16}">${percent(tally.winRate)}</text>`;
})}
</svg>`;
}

/** Lengths of both answers to each prompt: a point on the diagonal is a pair of equal length. */
export function lengthsPlot(
  points: readonly { readonly left: number; readonly right: number; readonly outcome: "win" | "loss" | "tie" }[],
  names: { readonly left: string; readonly right: string },
): Markup {
  const size = 320;
  const origin = 56;
  const most = Math.max(10, ...points.flatMap(({ left, right }) => [left, right]));
  const scale = (characters: number) =>
    (Math.log10(characters + 1) / Math.log10(most * 1.1 + 1)) * (size - origin - 10);
  const x = (characters: number) => origin + scale(characters);
  const y = (characters: number) => size - origin - scale(characters);
  const ticks = [10, 100, 1000, 10_000].filter((tick) => tick <= most);
  return html`<svg class="square" viewBox="0 0 ${size} ${size}" role="img" aria-label="Lengths of both answers">
${ticks.map(
  (tick) => html`<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="10" y2="${size - origin}"/>
<line class="grid" x1="${origin}" x2="${size - 10}" y1="${y(tick)}" y2="${y(tick)}"/>
<text class="tick" x="${x(tick)}" y="${size - origin + 18}" text-anchor="middle">${tick}</text>
<text class="tick" x="${origin - 8}" y="${y(tick) + 4}" text-anchor="end">${tick}</text>`,
)}
<line class="axis" x1="${x(0)}" y1="${y(0)}" x2="${x(most)}" y2="${y(most)}"/>
${points.map(({ left, right, outcome }) => html`<circle class="point ${outcome}" cx="${x(left)}" cy="${y(right)}" r="4"/>`)}
<text class="tick" x="${origin + (size - origin) / 2}" y="${size - 14}" text-anchor="middle">${shortened(names.left)}, characters</text>
<text class="tick" transform="translate(14 ${(size - origin) / 2}) rotate(-90)" text-anchor="middle">${shortened(names.right)}, characters</text>
</svg>`;
}

export function percent(share: number | null): string {
  return share === null ? "–" : `${(100 * share).toFixed(1)} %`;
}

function shortened(name: string): string {
  return name.length <= 26 ? name : `${name.slice(0, 12)}…${name.slice(-12)}`;
}

/** Round numbers, four to nine of them. */
function ticksBetween(low: number, high: number): readonly number[] {
  const step =
    [1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 2000, 5000].find((one) => (high - low) / one <= 8) ?? 10_000;
  const first = Math.ceil(low / step) * step;
  return Array.from({ length: Math.floor((high - first) / step) + 1 }, (_, index) => first + index * step);
}
