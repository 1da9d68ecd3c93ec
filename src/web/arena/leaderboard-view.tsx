import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Findings } from "../../leaderboard/findings.js";
import { RatingsPlot } from "../../leaderboard/ratings-plot.js";
import { StandingsTable } from "../../leaderboard/standings-table.js";
import { download } from "../parts/download.js";
import { percent } from "../parts/format.js";
import { Icon } from "../parts/icon.js";
import { access, announcement, heedProblem, isSteeredBase, modelOf } from "../session.js";
import { call, callJson } from "../wire/call.js";
import { problemFrom } from "../wire/problem.js";
import { field, fields, number } from "../wire/read.js";
import { readLeaderboard, type ServedLeaderboard } from "./leaderboard.js";
import { Pairs, WinMatrix } from "./pair-tables.js";
import "../../leaderboard/leaderboard.css";
import "../parts/wide-view.css";
import "./leaderboard-view.css";

const board = signal<ServedLeaderboard | null>(null);
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
      {value === null ? (
        notice.value === null ? (
          <p class="waiting">Counting the votes</p>
        ) : null
      ) : value.battles === 0 ? (
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

function Board({ board: value }: { readonly board: ServedLeaderboard }) {
  return (
    <>
      <div class="controls-row">
        <p class="lead">
          {value.battles} {value.battles === 1 ? "vote" : "votes"}
          {value.computedAt === null ? "" : `, counted at ${value.computedAt.toLocaleTimeString()}`}. Bradley–Terry
          ratings (1000 is average, 400 points are odds of ten to one) with {percent(value.confidence)} bootstrap
          intervals. A rank of 1–3 means that these votes leave it any of these places.
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
      <RatingsPlot contestants={value.contestants} kindOf={kindOf} />
      <StandingsTable contestants={value.contestants} />
      <WinMatrix board={value} />
      <Pairs board={value} />
      <Findings {...value} />
    </>
  );
}

/** By what a contestant's id says, and what is served here. */
function kindOf(contestant: string): "base" | "steered" | "other" {
  if (/[@+]/.test(contestant) || (modelOf(contestant)?.adapter ?? null) !== null) return "steered";
  return isSteeredBase(contestant) ? "base" : "other";
}

function Records() {
  return (
    <section class="row records" aria-label="Records">
      <button type="button" onClick={() => void exportRecords()}>
        <Icon of="download" />
        Export records (JSONL)
      </button>
      <label class="file">
        <Icon of="upload" />
        Import records
        <input
          type="file"
          class="visually-hidden"
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
    const body = await file.text();
    const answer = fields(await callJson(access.value, "/v1/arena/import", { method: "POST", body }));
    const [imported, known] = ["imported", "known"].map((name) => number(field(answer, name)) ?? 0);
    const unvoted = body.split("\n").filter((line) => /"vote":\s*null/.test(line)).length;
    const rest = unvoted === 0 ? "" : ` ${unvoted} of the file's records have no vote and count in no rating.`;
    const sentence = `${imported} records imported, ${known} were known already.${rest}`;
    notice.value = { kind: "good", sentence };
    announcement.value = sentence;
    await load();
  } catch (error) {
    fail(error);
  }
}
