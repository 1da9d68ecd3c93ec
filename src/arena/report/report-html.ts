import type { RatedItem } from "../batch/verdicts.js";
import { type BattleRecord, type BattleSide, charactersOf } from "../battle-record.js";
import { type Leaderboard, leaderboardOf, type Pairing, type Standing } from "../ratings/leaderboard.js";
import { html, Markup } from "./html.js";
import { lengthsPlot, outcomesPlot, percent, ratingsPlot } from "./plots.js";

export interface Report {
  readonly title: string;
  readonly createdAt: Date;
  /** Facts about the run, as name and value. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly items: readonly RatedItem[];
  /** All battles with their texts, voted on or not; empty where only verdicts are known. */
  readonly records: readonly BattleRecord[];
}

/** One file, no script and no request: it can be mailed and opened in ten years. */
export function reportHtml(report: Report): string {
  const board = leaderboardOf(report.items.map(({ match }) => match));
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${report.title}</title>
<style>${new Markup(styles)}</style>
</head>
<body>
<main>
<header>
<h1>${report.title}</h1>
${board.battles === 0 ? null : html`<p class="lead">${verdictSentence(board)}</p>`}
<dl class="facts">${report.facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
</header>
${board.battles === 0 ? unjudged(report) : judged(board, report)}
${report.records.length === 0 ? null : battlesSection(report.records, board)}
<footer>Made by toast-serve ab on ${report.createdAt.toISOString().slice(0, 16).replace("T", " ")} UTC. How the figures are made: docs/arena.md.</footer>
</main>
</body>
</html>
`;
  return page.text;
}

/** What a reader wants to know first. */
export function verdictSentence(board: Leaderboard): string {
  const [first, second] = board.standings;
  const pairing = board.pairings.find(({ a, b }) => a === first?.contestant && b === second?.contestant);
  if (first === undefined || second === undefined || pairing === undefined) return `${board.battles} battles.`;
  const counts = `${pairing.wins} wins, ${pairing.ties + pairing.bothBad} ties, ${pairing.losses} losses`;
  const p = pValue(pairing.signTestP);
  return pairing.separable
    ? `${first.contestant} is ahead of ${second.contestant}: ${counts} (sign test p ${p}).`
    : `${first.contestant} and ${second.contestant} are not separable by these votes: ${counts} (sign test p ${p}).`;
}

export function pValue(p: number): string {
  return p < 0.001 ? "< 0.001" : `= ${p.toFixed(3)}`;
}

function judged(board: Leaderboard, { items, records }: Report): Markup {
  return html`<section>
<h2>Ratings</h2>
<p class="hint">Bradley–Terry by maximum likelihood, 400 points for odds of 10 to 1, mean 1000; bars are ${Math.round(100 * board.confidence)} % intervals of ${board.rounds} bootstrap rounds.</p>
<div class="plot">${ratingsPlot(board.standings)}</div>
${standingsTable(board.standings)}
${board.notes.length === 0 ? null : html`<ul class="notes">${board.notes.map((note) => html`<li>${note}</li>`)}</ul>`}
</section>
<section>
<h2>Who beat whom</h2>
${board.pairings.map((pairing) => pairingBlock(pairing, items))}
</section>
<section>
<h2>Checks</h2>
${checks(board)}
${records.length === 0 ? null : lengths(board, items)}
</section>`;
}

function standingsTable(standings: readonly Standing[]): Markup {
  return html`<div class="scroll"><table>
<thead><tr><th>#</th><th>Contestant</th><th>Rating</th><th>Interval</th><th>Win rate</th><th>at equal length</th><th>Wins</th><th>Ties</th><th>Both bad</th><th>Losses</th><th>Mean characters</th></tr></thead>
<tbody>${standings.map(
    (one) =>
      html`<tr><td>${one.rank}</td><th scope="row">${one.contestant}</th><td>${Math.round(one.rating)}</td><td>${Math.round(one.low)} – ${Math.round(one.high)}</td><td>${percent(one.winRate)}</td><td>${percent(one.lengthControlledWinRate)}</td><td>${one.wins}</td><td>${one.ties}</td><td>${one.bothBad}</td><td>${one.losses}</td><td>${one.meanCharacters === null ? "–" : Math.round(one.meanCharacters)}</td></tr>`,
  )}</tbody>
</table></div>`;
}

function pairingBlock(pairing: Pairing, items: readonly RatedItem[]): Markup {
  const { a, b } = pairing;
  const ours = items.filter(({ match: { left, right } }) => (left === a && right === b) || (left === b && right === a));
  const categories = [...new Set(ours.map(({ category }) => category))].filter((one) => one !== null).toSorted(byText);
  const rows = categories.map((category) => {
    const board = leaderboardOf(
      ours.filter((item) => item.category === category).map(({ match }) => match),
      { rounds: 200 },
    );
    const [found] = board.pairings;
    const tally = found === undefined || found.a === a ? found : turned(found);
    return { label: category, tally: tally ?? pairing, p: found?.signTestP ?? 1 };
  });
  return html`<h3>${a} <span class="against">against</span> ${b}</h3>
<p class="legend"><span class="key win"></span>${a} <span class="key tie"></span>tie <span class="key bad"></span>both bad <span class="key loss"></span>${b}</p>
<div class="plot">${outcomesPlot([{ label: "all", tally: pairing }, ...rows])}</div>
<p>Win rate of ${a}: <b>${percent(pairing.winRate)}</b> (ties are halves), at equal length ${percent(pairing.lengthControlledWinRate)}; sign test p ${pValue(pairing.signTestP)}; ${pairing.separable ? "separable" : "not separable"}.</p>
${rows.length < 2 ? null : html`<p class="hint">Categories with few prompts differ by chance: sign tests below 0.05 in ${rows.filter(({ p }) => p < 0.05).length} of ${rows.length}, and one in twenty would be without any difference.</p>`}`;
}

function byText(one: string, other: string): number {
  return one < other ? -1 : 1;
}

function turned(pairing: Pairing): Pairing {
  return {
    ...pairing,
    a: pairing.b,
    b: pairing.a,
    wins: pairing.losses,
    losses: pairing.wins,
    winRate: 1 - pairing.winRate,
  };
}

function checks({ position, lengthEffect }: Leaderboard): Markup {
  return html`<dl class="facts">
<div><dt>Place</dt><dd>first or left place preferred ${position.left} times, second or right ${position.right} times (${percent(position.leftShare)} first; p ${pValue(position.p)})</dd></div>
<div><dt>Length</dt><dd>${lengthEffect === null ? "not known, or never different" : `a much longer answer has ${Math.exp(lengthEffect).toFixed(2)} times the odds to win`}</dd></div>
</dl>`;
}

function lengths(board: Leaderboard, items: readonly RatedItem[]): Markup | null {
  const [pairing] = board.pairings;
  if (pairing === undefined) return null;
  const points = items.flatMap(({ match }) => {
    const { left, right, leftCharacters, rightCharacters, winner } = match;
    if (leftCharacters === null || rightCharacters === null) return [];
    if (left === pairing.a && right === pairing.b) {
      const outcome = winner === "left" ? "win" : winner === "right" ? "loss" : "tie";
      return [{ left: leftCharacters, right: rightCharacters, outcome } as const];
    }
    if (left === pairing.b && right === pairing.a) {
      const outcome = winner === "right" ? "win" : winner === "left" ? "loss" : "tie";
      return [{ left: rightCharacters, right: leftCharacters, outcome } as const];
    }
    return [];
  });
  if (points.length === 0) return null;
  return html`<h3>Lengths</h3>
<p class="hint">A point for each battle, coloured by who won; on the line both answers are equally long.</p>
${lengthsPlot(points, { left: pairing.a, right: pairing.b })}`;
}

function unjudged({ records }: Report): Markup {
  const [first] = records;
  const same = records.filter(({ left, right }) => left.text === right.text).length;
  const mean = (side: "left" | "right") =>
    Math.round(
      records.reduce((sum, record) => sum + (charactersOf(record[side]) ?? 0), 0) / Math.max(1, records.length),
    );
  return html`<section>
<h2>No verdicts</h2>
<p>Nobody has judged these answers: name a judge with --judge, or bring verdicts with --verdicts. ${same} of ${records.length} pairs are the same text.</p>
<p>Mean length: ${first?.left.contestant ?? "left"} ${mean("left")} characters, ${first?.right.contestant ?? "right"} ${mean("right")}.</p>
${lengthsPlot(
  records.flatMap(({ left, right }) => [
    { left: charactersOf(left) ?? 0, right: charactersOf(right) ?? 0, outcome: "tie" as const },
  ]),
  { left: first?.left.contestant ?? "left", right: first?.right.contestant ?? "right" },
)}
</section>`;
}

function battlesSection(records: readonly BattleRecord[], { pairings: [pairing] }: Leaderboard): Markup {
  const colour = (contestant: string) =>
    contestant === pairing?.a ? "win" : contestant === pairing?.b ? "loss" : "none";
  return html`<section>
<h2>All ${records.length} battles</h2>
${records.map((record) => battleBlock(record, colour))}
</section>`;
}

function battleBlock(record: BattleRecord, colour: (contestant: string) => string): Markup {
  const { left, right, vote, category, messages } = record;
  const winner = vote?.winner ?? null;
  const outcome =
    winner === null
      ? "no verdict"
      : winner === "tie"
        ? "tie"
        : winner === "bothBad"
          ? "both bad"
          : record[winner].contestant;
  const kind =
    winner === null ? "none" : winner === "left" || winner === "right" ? colour(record[winner].contestant) : "tie";
  const prompt = messages.findLast(({ role }) => role === "user")?.content ?? "";
  return html`<details>
<summary><span class="badge ${kind}">${outcome}</span> <span class="prompt">${prompt.length > 160 ? `${prompt.slice(0, 160)}…` : prompt}</span>${category === null ? null : html` <span class="category">${category}</span>`}</summary>
<div class="conversation">${messages.map(({ role, content }) => html`<p><b>${role}</b></p><pre>${content}</pre>`)}</div>
<div class="sides">${sideBlock(left, winner === "left")}${sideBlock(right, winner === "right")}</div>
${vote === null ? null : html`<p class="hint">Judged by ${vote.judge}.</p>${judgmentsOf(vote.details).map((text) => html`<pre class="judgment">${text}</pre>`)}`}
</details>`;
}

function sideBlock(side: BattleSide, won: boolean): Markup {
  const figures = [
    side.text === null ? null : `${side.text.length} characters`,
    side.completionTokens === null ? null : `${side.completionTokens} tokens`,
    side.totalMs === null ? null : `${(side.totalMs / 1000).toFixed(1)} s`,
    side.finishReason === "length" ? "cut off" : null,
  ].filter((one) => one !== null);
  return html`<article class="${won ? "won" : "side"}"><h4>${side.contestant}${won ? html` <span class="mark">better</span>` : null}</h4>
<pre>${side.text ?? "(not known)"}</pre><p class="hint">${figures.join(", ")}</p></article>`;
}

function judgmentsOf(details: unknown): readonly string[] {
  if (typeof details !== "object" || details === null) return [];
  const { judgments, text } = details as { readonly judgments?: unknown; readonly text?: unknown };
  if (typeof text === "string") return [text];
  if (!Array.isArray(judgments)) return [];
  return judgments.flatMap((one: { order?: unknown; text?: unknown }) =>
    typeof one?.text === "string"
      ? [`${one.order === "rightFirst" ? "Right shown first (as A)" : "Left shown first (as A)"}:\n${one.text}`]
      : [],
  );
}

const styles = `
:root { --ink: #1c1b1a; --quiet: #66615a; --paper: #fbfaf7; --card: #fff; --line: #e2ddd3; --win: #2f6f9f; --loss: #b4552d; --tie: #b9b2a4; --bad: #8d8678; --inside: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #ece8e1; --quiet: #a39c90; --paper: #171614; --card: #211f1c; --line: #3a3631; --win: #6fb0de; --loss: #e08a5f; --tie: #6d675c; --bad: #4d483f; --inside: #14130f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 40px 0 12px; }
h3 { font-size: 1.05rem; margin: 24px 0 8px; overflow-wrap: anywhere; }
h4 { margin: 0 0 8px; font-size: .95rem; overflow-wrap: anywhere; }
.lead { font-size: 1.15rem; }
.hint, footer, .against, .category { color: var(--quiet); font-size: .88rem; }
.facts { display: grid; gap: 4px 24px; margin: 16px 0; }
.facts div { display: grid; grid-template-columns: 140px 1fr; gap: 12px; }
.facts dt { color: var(--quiet); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
svg { display: block; width: 100%; max-width: 760px; height: auto; margin: 12px 0; }
svg.square { max-width: 420px; }
.plot { overflow-x: auto; } .plot svg { min-width: 560px; }
th[scope=row] { white-space: normal; overflow-wrap: anywhere; min-width: 130px; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); }
svg .tick { fill: var(--quiet); font-size: 12px; }
svg .grid { stroke: var(--line); }
svg .axis { stroke: var(--quiet); stroke-dasharray: 4 4; }
svg .interval { stroke: var(--win); stroke-width: 2; }
svg .rating { fill: var(--win); }
svg .win { fill: var(--win); } svg .loss { fill: var(--loss); } svg .tie { fill: var(--tie); } svg .bad { fill: var(--bad); }
svg .point { fill-opacity: .75; }
svg text.inside { fill: var(--inside); font-size: 12px; } svg text.inside.tie, svg text.inside.bad { fill: var(--ink); }
.legend { font-size: .88rem; margin: 0; }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin: 0 6px 0 14px; vertical-align: -1px; }
.key:first-child { margin-left: 0; }
.key.win { background: var(--win); } .key.loss { background: var(--loss); } .key.tie { background: var(--tie); } .key.bad { background: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; }
th, td { padding: 6px 8px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { color: var(--quiet); font-weight: 500; }
th:nth-child(2), td:nth-child(2) { text-align: left; }
.notes { padding-left: 20px; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: 8px 0; padding: 10px 14px; }
summary { cursor: pointer; overflow-wrap: anywhere; }
.badge { display: inline-block; border-radius: 4px; padding: 0 8px; font-size: .82rem; background: var(--tie); color: var(--ink); }
.badge.win { background: var(--win); color: var(--inside); } .badge.loss { background: var(--loss); color: var(--inside); }
.badge.none { background: none; border: 1px solid var(--line); color: var(--quiet); }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; }
@media (max-width: 640px) { .sides { grid-template-columns: 1fr; } .facts div { grid-template-columns: 1fr; gap: 0; } }
article { border: 1px solid var(--line); border-radius: 6px; padding: 12px; min-width: 0; }
article.won { border-color: var(--win); }
.mark { color: var(--win); font-weight: 500; font-size: .82rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: 0; }
.conversation { margin: 12px 0; } .conversation p { margin: 8px 0 0; color: var(--quiet); font-size: .82rem; }
.judgment { border-left: 3px solid var(--line); padding-left: 12px; margin: 8px 0; font-size: .88rem; }
footer { margin-top: 48px; }
@media print { details { break-inside: avoid; } }
`;
