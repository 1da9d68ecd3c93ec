import { readFileSync } from "node:fs";
import { render } from "preact-render-to-string";
import { type Kind, percent, pValue } from "../../leaderboard/board.js";
import { Findings } from "../../leaderboard/findings.js";
import { RatingsPlot } from "../../leaderboard/ratings-plot.js";
import { ScrollBox } from "../../leaderboard/scroll-box.js";
import { StandingsTable } from "../../leaderboard/standings-table.js";
import { byTurns, type RatedItem } from "../batch/verdicts.js";
import { type BattleRecord, type BattleSide, charactersOfAll } from "../battle-record.js";
import { type Leaderboard, leaderboardOf, type Pairing } from "../ratings/leaderboard.js";
import { kindsOf, pairColours } from "./contestant-colours.js";
import { type LengthPoint, LengthsPlot, OutcomesPlot } from "./plots.js";
import { reportStyles } from "./report-styles.js";

export interface Report {
  readonly title: string;
  readonly createdAt: Date;
  /** Facts about the run, as name and value. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly items: readonly RatedItem[];
  /** All battles with their texts, voted on or not; empty where only verdicts are known. */
  readonly records: readonly BattleRecord[];
  /** Each record's prompt, by which verdicts name it; null where nothing is to be judged here. */
  readonly promptIds: readonly string[] | null;
}

/**
 * One file and no request: it can be mailed and opened in ten years. A script is in it only where pairs wait for a
 * verdict, and all there is to read is read without.
 */
export function reportHtml(report: Report): string {
  const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");
  const styles = ["../../leaderboard/colours.css", "../../leaderboard/leaderboard.css"].map(read);
  const script = waiting(report).size === 0 ? "" : `<script type="module">${read("./voting.js")}</script>\n`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
${render(<title>{report.title}</title>)}
<style>${styles[0]}${reportStyles}${styles[1]}</style>
</head>
<body>
${render(<Body report={report} />)}
${script}</body>
</html>
`;
}

/** The prompts of the records that wait for a verdict, by the record's id. */
function waiting({ records, promptIds }: Report): ReadonlyMap<string, string> {
  const open = records.flatMap((record, at) => {
    const prompt = promptIds?.[at];
    return record.vote === null && prompt !== undefined ? [[record.id, prompt] as const] : [];
  });
  return new Map(open);
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

function Body({ report }: { readonly report: Report }) {
  const { title, facts, items, records, createdAt } = report;
  const board = leaderboardOf(items.map(({ match }) => match));
  const kinds = kindsOf(records);
  const open = waiting(report);
  return (
    <main>
      <header>
        <h1>{title}</h1>
        {board.battles === 0 ? null : <p class="lead">{verdictSentence(board)}</p>}
        <dl class="facts">
          {facts.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </header>
      {open.size === 0 ? null : <Voting run={records[0]?.id ?? ""} open={open.size} />}
      {board.battles === 0 ? (
        <Unjudged records={records} kinds={kinds} />
      ) : (
        <Judged board={board} report={report} kinds={kinds} />
      )}
      {records.length === 0 ? null : (
        <Battles records={records} pairing={board.pairings[0]} kinds={kinds} prompts={open} />
      )}
      <footer>
        Made by toast-serve ab on {createdAt.toISOString().slice(0, 16).replace("T", " ")} UTC. How the figures are
        made: docs/arena.md.
      </footer>
    </main>
  );
}

type Kinds = ReadonlyMap<string, Kind>;

/** What the script fills: without it there is nothing here to be seen. */
function Voting({ run, open }: { readonly run: string; readonly open: number }) {
  return (
    <section class="voting" data-run={run} aria-label="Judge here" hidden>
      <h2>Judge here</h2>
      <p class="hint">
        {open === 1 ? "A pair waits" : `${open} pairs wait`} for a verdict: without names, sides drawn by lot, by button
        or by the keys ← T B →. What you say stays in this browser. When you are done, download it, and give it to the
        same command with <code>--verdicts verdicts.jsonl</code>.
      </p>
      <p data-part="progress" role="status" />
      <div data-part="pair">
        <pre class="voting-prompt" data-part="prompt" />
        <div class="sides">
          {(["left", "right"] as const).map((side) => (
            <article key={side} aria-label={side === "left" ? "Left answer" : "Right answer"}>
              <pre data-part={side} />
            </article>
          ))}
        </div>
        <p class="voting-buttons">
          <button type="button" data-say="left">
            Left is better
          </button>
          <button type="button" data-say="tie">
            Tie
          </button>
          <button type="button" data-say="bothBad">
            Both bad
          </button>
          <button type="button" data-say="right">
            Right is better
          </button>
          <button type="button" data-say="skip">
            Skip
          </button>
        </p>
      </div>
      <p data-part="done">All are judged.</p>
      <button type="button" data-part="download" hidden>
        Download verdicts.jsonl
      </button>
    </section>
  );
}

function Judged({
  board,
  report: { items, records },
  kinds,
}: {
  readonly board: Leaderboard;
  readonly report: Report;
  readonly kinds: Kinds;
}) {
  const points = board.pairings.slice(0, 1).flatMap((pairing) => pointsOf(pairing, items));
  const [first] = board.pairings;
  return (
    <>
      <section>
        <h2>Ratings</h2>
        <p class="hint">
          Bradley–Terry by maximum likelihood, 400 points for odds of 10 to 1, mean 1000; bars are{" "}
          {Math.round(100 * board.confidence)} % intervals of {board.rounds} bootstrap rounds.
        </p>
        <RatingsPlot contestants={board.standings} kindOf={(contestant) => kinds.get(contestant) ?? "other"} />
        <StandingsTable contestants={board.standings} />
      </section>
      <section>
        <h2>Who beat whom</h2>
        {board.pairings.map((pairing) => (
          <PairingBlock key={`${pairing.a}|${pairing.b}`} pairing={pairing} items={items} kinds={kinds} />
        ))}
      </section>
      <Findings {...board} />
      <p>
        {board.lengthEffect === null
          ? "Whether length sways the votes is not known: these votes are too few, or their lengths say the same as they do."
          : `A much longer answer has ${Math.exp(board.lengthEffect).toFixed(2)} times the odds to win.`}
      </p>
      {first === undefined || records.length === 0 || points.length === 0 ? null : (
        <section style={pairColours(kinds, first.a, first.b)}>
          <h3>Lengths</h3>
          <p class="hint">A point for each battle, coloured by who won; on the line both answers are equally long.</p>
          <LengthsPlot points={points} left={first.a} right={first.b} />
        </section>
      )}
    </>
  );
}

function PairingBlock({
  pairing,
  items,
  kinds,
}: {
  readonly pairing: Pairing;
  readonly items: readonly RatedItem[];
  readonly kinds: Kinds;
}) {
  const { a, b } = pairing;
  const ours = items.filter(({ match: { left, right } }) => (left === a && right === b) || (left === b && right === a));
  const categories = [...new Set(ours.map(({ category }) => category))].filter((one) => one !== null).toSorted(byText);
  const rowOf = (label: string, some: readonly RatedItem[]) => {
    const board = leaderboardOf(
      some.map(({ match }) => match),
      { rounds: 200 },
    );
    const [found] = board.pairings;
    const tally = found === undefined || found.a === a ? found : turned(found);
    return { label, tally: tally ?? pairing, p: found?.signTestP ?? 1 };
  };
  const turns = byTurns(ours).map(({ turn, items: some }) => rowOf(turnsName(turn), some));
  const rows = categories.map((category) =>
    rowOf(
      category,
      ours.filter((item) => item.category === category),
    ),
  );
  return (
    <div style={pairColours(kinds, a, b)}>
      <h3>
        {a} <span class="against">against</span> {b}
      </h3>
      <p class="legend">
        <span class="key win" />
        {a} <span class="key tie" />
        tie <span class="key bad" />
        both bad <span class="key loss" />
        {b}
      </p>
      <ScrollBox label={`${a} against ${b}`}>
        <div class="plot">
          <OutcomesPlot rows={[{ label: "all", tally: pairing }, ...turns, ...rows]} />
        </div>
      </ScrollBox>
      <p>
        Win rate of {a}: <b>{percent(pairing.winRate)}</b> (ties are halves), at equal length{" "}
        {percent(pairing.lengthControlledWinRate)}; sign test p {pValue(pairing.signTestP)};{" "}
        {pairing.separable ? "separable" : "not separable"}.
      </p>
      {rows.length < 2 ? null : (
        <p class="hint">
          Categories with few prompts differ by chance: sign tests below 0.05 in{" "}
          {rows.filter(({ p }) => p < 0.05).length} of {rows.length}, and one in twenty would be without any difference.
        </p>
      )}
    </div>
  );
}

/** How many turns a battle has. */
function turnsName(turns: number): string {
  return turns === 1 ? "1 turn" : `${turns} turns`;
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

function pointsOf(pairing: Pairing, items: readonly RatedItem[]): readonly LengthPoint[] {
  return items.flatMap(({ match }) => {
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
}

function Unjudged({ records, kinds }: { readonly records: readonly BattleRecord[]; readonly kinds: Kinds }) {
  const [first] = records;
  const [left, right] = [first?.left.contestant ?? "left", first?.right.contestant ?? "right"];
  const same = records.filter((record) => record.left.text === record.right.text).length;
  const points = records.map(
    (record): LengthPoint => ({
      left: charactersOfAll(record, "left") ?? 0,
      right: charactersOfAll(record, "right") ?? 0,
      outcome: "tie",
    }),
  );
  const mean = (side: "left" | "right") =>
    Math.round(points.reduce((sum, point) => sum + point[side], 0) / Math.max(1, points.length));
  return (
    <section style={pairColours(kinds, left, right)}>
      <h2>No verdicts</h2>
      <p>
        Nobody has judged these answers: judge them above, name a judge with --judge, or bring verdicts with --verdicts.{" "}
        {same} of {records.length} pairs are the same text.
      </p>
      <p>
        Mean length: {left} {mean("left")} characters, {right} {mean("right")}.
      </p>
      <LengthsPlot points={points} left={left} right={right} />
    </section>
  );
}

function Battles({
  records,
  pairing,
  kinds,
  prompts,
}: {
  readonly records: readonly BattleRecord[];
  readonly pairing: Pairing | undefined;
  readonly kinds: Kinds;
  /** Of those that wait for a verdict. */
  readonly prompts: ReadonlyMap<string, string>;
}) {
  return (
    <section>
      <h2>All {records.length} battles</h2>
      {records.map((record) => (
        <Battle key={record.id} record={record} pairing={pairing} kinds={kinds} prompt={prompts.get(record.id)} />
      ))}
    </section>
  );
}

function Battle({
  record,
  pairing,
  kinds,
  prompt: promptId,
}: {
  readonly record: BattleRecord;
  readonly pairing: Pairing | undefined;
  readonly kinds: Kinds;
  readonly prompt: string | undefined;
}) {
  const { left, right, vote, category, messages, turns } = record;
  const { a, b } = pairing ?? { a: left.contestant, b: right.contestant };
  const { outcome, colour } = outcomeOf(record, pairing);
  const prompt = messages.findLast(({ role }) => role === "user")?.content ?? "";
  return (
    <details
      data-prompt={promptId}
      data-turn={promptId === undefined ? undefined : turns.length + 1}
      style={pairColours(kinds, a, b)}
    >
      <summary>
        <span class={`badge ${colour}`}>{outcome}</span>{" "}
        <span class="prompt">{prompt.length > 160 ? `${prompt.slice(0, 160)}…` : prompt}</span>
        {turns.length === 0 ? null : <span class="category"> {turnsName(turns.length + 1)}</span>}
        {category === null ? null : <span class="category"> {category}</span>}
      </summary>
      <div class="conversation">
        {messages.map(({ role, content }, at) => (
          <div key={at}>
            <p>
              <b>{role}</b>
            </p>
            <pre>{content}</pre>
          </div>
        ))}
      </div>
      <div class="sides">
        <Side side={left} won={vote?.winner === "left"} isSecond={left.contestant === b} />
        <Side side={right} won={vote?.winner === "right"} isSecond={right.contestant === b} />
      </div>
      {turns.map((turn, at) => (
        <div key={at}>
          <div class="conversation">
            <p>
              <b>user, turn {at + 2}</b>
            </p>
            <pre>{turn.prompt}</pre>
          </div>
          <div class="sides">
            <Side side={turn.left} won={vote?.winner === "left"} isSecond={left.contestant === b} />
            <Side side={turn.right} won={vote?.winner === "right"} isSecond={right.contestant === b} />
          </div>
        </div>
      ))}
      {vote === null ? null : (
        <>
          <p class="hint">Judged by {vote.judge}.</p>
          {judgmentsOf(vote.details).map((text) => (
            <pre key={text} class="judgment">
              {text}
            </pre>
          ))}
        </>
      )}
    </details>
  );
}

function outcomeOf(record: BattleRecord, pairing: Pairing | undefined) {
  switch (record.vote?.winner) {
    case undefined:
      return { outcome: "no verdict", colour: "none" };
    case "tie":
      return { outcome: "tie", colour: "tie" };
    case "bothBad":
      return { outcome: "both bad", colour: "tie" };
    case "left":
    case "right": {
      const outcome = record[record.vote.winner].contestant;
      return { outcome, colour: outcome === pairing?.a ? "win" : outcome === pairing?.b ? "loss" : "none" };
    }
  }
}

function Side({
  side,
  won,
  isSecond,
}: {
  readonly side: BattleSide;
  readonly won: boolean;
  readonly isSecond: boolean;
}) {
  const figures = [
    side.text === null ? null : `${side.text.length} characters`,
    side.completionTokens === null ? null : `${side.completionTokens} tokens`,
    side.totalMs === null ? null : `${(side.totalMs / 1000).toFixed(1)} s`,
    side.finishReason === "length" ? "cut off" : null,
  ].filter((one) => one !== null);
  return (
    <article class={`${won ? "won" : "side"} ${isSecond ? "of-second" : "of-first"}`}>
      <h4>
        {side.contestant}
        {won ? <span class="mark"> better</span> : null}
      </h4>
      <pre>{side.text ?? "(not known)"}</pre>
      <p class="hint">{figures.join(", ")}</p>
    </article>
  );
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
