import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { download } from "../parts/download.js";
import { percent, short } from "../parts/format.js";
import { ScrollBox } from "../parts/scroll-box.js";
import { access, announcement, heedProblem } from "../session.js";
import { call, callJson } from "../wire/call.js";
import { problemFrom } from "../wire/problem.js";
import { field, fields, number } from "../wire/read.js";
import { type Leaderboard, meetingOf, readLeaderboard, type Standing, ticks } from "./leaderboard.js";
import "../parts/wide-view.css";
import "./leaderboard-view.css";

const board = signal<Leaderboard | null>(null);
const category = signal("");
const notice = signal<{ readonly kind: "good" | "problem"; readonly sentence: string } | null>(null);

export function LeaderboardView() {
  useEffect(() => void load(), [category.value, access.value]);
  const { value } = board;
  return (
    <div class="wide">
      <div class="title-row">
        <h1>Leaderboard</h1>
        <a href="#/arena">Back to the arena</a>
      </div>
      {notice.value === null ? null : (
        <p class={notice.value.kind === "problem" ? "problem-line" : "verdict"} role="alert">
          {notice.value.sentence}
        </p>
      )}
      {value === null ? null : value.battles === 0 ? (
        <p class="lead">
          No votes yet. <a href="#/arena">Judge a blind battle</a>, run <code>toast-serve ab</code>, or import records.
        </p>
      ) : (
        <Board board={value} />
      )}
      {value === null ? null : <Records />}
    </div>
  );
}

async function load(): Promise<void> {
  const query = category.value === "" ? "" : `?category=${encodeURIComponent(category.value)}`;
  try {
    board.value = readLeaderboard(await callJson(access.value, `/v1/arena/leaderboard${query}`));
    if (notice.value?.kind === "problem") notice.value = null;
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): void {
  const problem = problemFrom(error);
  notice.value = { kind: "problem", sentence: problem.sentence };
  heedProblem(problem);
}

function Board({ board: value }: { readonly board: Leaderboard }) {
  return (
    <>
      <div class="controls-row">
        <p class="lead">
          {value.battles} votes. Bradley–Terry ratings (1000 is average, 400 points are odds of ten to one) with{" "}
          {percent(value.confidence)} bootstrap intervals. Equal ranks mean: not separable yet.
        </p>
        {value.categories.length === 0 ? null : (
          <div class="field">
            <label for="category">Category</label>
            <select
              id="category"
              value={category.value}
              onChange={({ currentTarget }) => {
                category.value = currentTarget.value;
              }}
            >
              <option value="">All</option>
              {value.categories.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </div>
        )}
      </div>
      <RatingsPlot contestants={value.contestants} />
      <ScrollBox label="Ratings">
        <table>
          <caption>Ratings</caption>
          <thead>
            <tr>
              <th scope="col">Rank</th>
              <th scope="col">Contestant</th>
              <th scope="col">Rating</th>
              <th scope="col">Interval</th>
              <th scope="col">Votes</th>
              <th scope="col">W / L / T / bad</th>
              <th scope="col">Win rate</th>
              <th scope="col">At equal length</th>
              <th scope="col">Mean length</th>
            </tr>
          </thead>
          <tbody>
            {value.contestants.map((standing) => (
              <tr key={standing.contestant}>
                <td>{standing.rank}</td>
                <th scope="row">{standing.contestant}</th>
                <td>{whole(standing.rating)}</td>
                <td>
                  {whole(standing.low)} – {whole(standing.high)}
                </td>
                <td>{standing.battles}</td>
                <td>
                  {standing.wins} / {standing.losses} / {standing.ties} / {standing.bothBad}
                </td>
                <td>{share(standing.winRate)}</td>
                <td>{share(standing.lengthControlledWinRate)}</td>
                <td>{whole(standing.meanCharacters)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollBox>
      <WinMatrix board={value} />
      <Pairs board={value} />
      <Findings board={value} />
    </>
  );
}

function whole(value: number | null): string {
  return value === null ? "–" : String(Math.round(value));
}

function share(value: number | null): string {
  return value === null ? "–" : percent(value);
}

const plotWidth = 720;
const rowHeight = 34;
const labelWidth = 210;

function RatingsPlot({ contestants }: { readonly contestants: readonly Standing[] }) {
  const rated = contestants.flatMap(({ contestant, rating, low, high }) =>
    rating === null ? [] : [{ contestant, rating, low: low ?? rating, high: high ?? rating }],
  );
  if (rated.length === 0) return null;
  const least = Math.min(...rated.map(({ low }) => low));
  const most = Math.max(...rated.map(({ high }) => high));
  const margin = Math.max(10, (most - least) * 0.06);
  const x = (rating: number) =>
    labelWidth + ((rating - least + margin) / (most - least + 2 * margin)) * (plotWidth - labelWidth - 10);
  const height = rated.length * rowHeight + 30;
  const words = rated.map(
    ({ contestant, rating, low, high }) => `${contestant} ${whole(rating)} (${whole(low)} to ${whole(high)})`,
  );
  return (
    <ScrollBox label="Plot of the ratings">
      <svg
        class="ratings"
        viewBox={`0 0 ${plotWidth} ${height}`}
        role="img"
        aria-label={`Ratings: ${words.join("; ")}.`}
      >
        {ticks(least - margin, most + margin, 6).map((tick) => (
          <g key={tick}>
            <line x1={x(tick)} x2={x(tick)} y1={0} y2={height - 24} class="grid-line" />
            <text x={x(tick)} y={height - 8} class="tick">
              {tick}
            </text>
          </g>
        ))}
        {rated.map(({ contestant, rating, low, high }, row) => {
          const y = row * rowHeight + rowHeight / 2;
          return (
            <g key={contestant}>
              <text x={labelWidth - 12} y={y + 4} class="row-label">
                {contestant.length > 30 ? `${contestant.slice(0, 29)}…` : contestant}
              </text>
              <line x1={x(low)} x2={x(high)} y1={y} y2={y} class="interval" />
              <line x1={x(low)} x2={x(low)} y1={y - 5} y2={y + 5} class="interval" />
              <line x1={x(high)} x2={x(high)} y1={y - 5} y2={y + 5} class="interval" />
              <circle cx={x(rating)} cy={y} r={5} class="rating-dot">
                <title>{`${whole(rating)} (${whole(low)} to ${whole(high)})`}</title>
              </circle>
            </g>
          );
        })}
      </svg>
    </ScrollBox>
  );
}

function WinMatrix({ board: { contestants, pairs } }: { readonly board: Leaderboard }) {
  const names = contestants.map(({ contestant }) => contestant);
  return (
    <ScrollBox label="Win matrix">
      <table class="matrix">
        <caption>How often the row beats the column (a tie is half a win)</caption>
        <thead>
          <tr>
            <td />
            {names.map((name) => (
              <th scope="col" key={name}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {names.map((row) => (
            <tr key={row}>
              <th scope="row">{row}</th>
              {names.map((column) => {
                const meeting = row === column ? null : meetingOf(pairs, row, column);
                if (meeting === null) return <td key={column}>–</td>;
                return (
                  <td
                    key={column}
                    class={meeting.separable ? "" : "unsure"}
                    style={{ "--win": meeting.winRate === null ? 0.5 : Number(meeting.winRate.toFixed(3)) }}
                  >
                    {share(meeting.winRate)}
                    <small>
                      {" "}
                      of {meeting.battles}
                      {meeting.separable ? "" : ", not separable"}
                    </small>
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollBox>
  );
}

function Pairs({ board: { pairs } }: { readonly board: Leaderboard }) {
  return (
    <ScrollBox label="Pairs">
      <table>
        <caption>Pairs that met, the higher rated first</caption>
        <thead>
          <tr>
            <th scope="col">Pair</th>
            <th scope="col">Wins</th>
            <th scope="col">Losses</th>
            <th scope="col">Ties</th>
            <th scope="col">Sign test p</th>
            <th scope="col">Wins at equal length</th>
            <th scope="col">Separable</th>
          </tr>
        </thead>
        <tbody>
          {pairs.map((pair) => (
            <tr key={`${pair.a}|${pair.b}`}>
              <th scope="row">
                {pair.a} – {pair.b}
              </th>
              <td>{pair.wins}</td>
              <td>{pair.losses}</td>
              <td>{pair.ties}</td>
              <td>{pair.signTestP === null ? "–" : short(pair.signTestP)}</td>
              <td>{share(pair.lengthControlledWinRate)}</td>
              <td>{pair.separable ? "yes" : "no"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollBox>
  );
}

function Findings({ board: { position, notes } }: { readonly board: Leaderboard }) {
  return (
    <section class="findings" aria-labelledby="findings">
      <h2 id="findings">What the votes prove, and what not</h2>
      <ul>
        {notes.map((note) => (
          <li key={note}>{note}</li>
        ))}
        <li>
          Position: the left answer won {position.left} times, the right {position.right} times
          {position.p === null
            ? ""
            : `; ${position.p < 0.05 ? "judges favour a side" : "no sign of a favoured side"} (p = ${short(position.p)})`}
          .
        </li>
      </ul>
    </section>
  );
}

function Records() {
  return (
    <section class="row records" aria-label="Records">
      <button type="button" onClick={() => void exportRecords()}>
        Export records (JSONL)
      </button>
      <label class="file">
        Import records{" "}
        <input
          type="file"
          accept=".jsonl,.ndjson,application/x-ndjson"
          onChange={({ currentTarget }) => {
            const file = currentTarget.files?.[0];
            currentTarget.value = "";
            if (file !== undefined) void importRecords(file);
          }}
        />
      </label>
    </section>
  );
}

async function exportRecords(): Promise<void> {
  try {
    const response = await call(access.value, "/v1/arena/battles");
    download("battles.jsonl", "application/x-ndjson", await response.text());
  } catch (error) {
    fail(error);
  }
}

async function importRecords(file: File): Promise<void> {
  try {
    const answer = fields(
      await callJson(access.value, "/v1/arena/import", { method: "POST", body: await file.text() }),
    );
    const sentence = `${number(field(answer, "imported")) ?? 0} records imported, ${number(field(answer, "known")) ?? 0} were known already.`;
    notice.value = { kind: "good", sentence };
    announcement.value = sentence;
    await load();
  } catch (error) {
    fail(error);
  }
}
