import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { readPromptSet } from "../arena/batch/prompt-set.js";
import { type BatchContestant, type BatchPlan, runBatch } from "../arena/batch/run-batch.js";
import {
  byTurns,
  type RatedItem,
  ratedItem,
  readRatedItems,
  readVerdicts,
  verdictsOn,
} from "../arena/batch/verdicts.js";
import { type BattleRecord, toWire } from "../arena/battle-record.js";
import { leaderboardOf } from "../arena/ratings/leaderboard.js";
import { reportHtml, verdictSentence } from "../arena/report/report-html.js";
import { openStore } from "../arena/store/open-store.js";
import { ToastError } from "../errors.js";
import { percent, places, pValue } from "../leaderboard/board.js";
import { writeWholeFile } from "../write-whole-file.js";
import { openContestants } from "./ab-contestants.js";
import { positiveInteger } from "./positive-integer.js";
import { progressLine } from "./progress-line.js";
import { stopSignalOfProcess } from "./stop-signal.js";
import type { Terminal } from "./terminal.js";

interface AbFlags {
  readonly left?: string;
  readonly right?: string;
  readonly prompts?: string;
  readonly out?: string;
  readonly judge?: string;
  readonly verdicts?: string;
  readonly contestants?: string;
  readonly modelsDir?: string;
  readonly vectorsDir?: string;
  readonly limit?: number;
  readonly turns?: number;
  readonly seed: number;
  readonly temperature: number;
  readonly topP: number;
  readonly maxTokens: number;
  readonly concurrency: number;
  readonly threads?: number;
  readonly importTo?: string;
}

interface RateFlags {
  readonly html?: string;
  readonly json?: true;
  readonly category?: string;
}

/** @param stop ends the run; what is done is kept. Default: SIGINT and SIGTERM. */
export function abCommand(terminal: Terminal, stop?: AbortSignal): Command {
  return new Command("ab")
    .description(
      "compare two contestants on a set of prompts, blind or judged by a model, with statistics and a report",
    )
    .option("--left <contestant>", "a model, a file of recorded answers, or URL#model (see below)")
    .option("--right <contestant>", "the other one")
    .option(
      "--prompts <file>",
      "prompts: Vicuna's question.jsonl, Self-Instruct's 252, AlpacaEval's, MT-bench's, own JSONL",
    )
    .option("--out <folder>", "where answers, verdicts and the report go (default: ab-<left>-vs-<right>)")
    .option("--judge <contestant>", "a model that says which answer is better, asked in both orders")
    .option(
      "--verdicts <file>",
      "verdicts from elsewhere instead: JSONL of {id, winner} or {id, scores: [left, right]}, FastChat's, AlpacaEval's",
    )
    .option("--contestants <file>", "JSON file of contestants, remote, steered or told something, as 'serve' takes it")
    .option("--models-dir <folder>", "where model ids are looked for (default: the models/ of this package)")
    .option("--vectors-dir <folder>", "where control vectors are looked for, as in 'serve' (default: its own)")
    .option("--limit <number>", "only the first so many prompts", positiveInteger)
    .option("--turns <number>", "only the first so many turns of each prompt (MT-bench has two)", positiveInteger)
    .option("--seed <number>", "each prompt's seed is made of it and the prompt's id", wholeNumber, 1)
    .option("--temperature <number>", "0 for greedy", fraction(2), 0.7)
    .option("--top-p <number>", "probability mass that is drawn from", fraction(1), 1)
    .option("--max-tokens <number>", "of each answer", positiveInteger, 512)
    .option("--concurrency <number>", "prompts at the same time", positiveInteger, 4)
    .option("--threads <number>", "threads of one forward (default: the engine's choice)", positiveInteger)
    .option("--import-to <place>", "adds the battles to an arena: a server's URL, a --data-dir, or a postgres:// URL")
    .addHelpText("after", examples)
    .action((flags: AbFlags) => run(flags, terminal, stop ?? stopSignalOfProcess()))
    .addCommand(rateCommand(terminal));
}

function rateCommand(terminal: Terminal): Command {
  return new Command("rate")
    .description("rate verdicts or battles of any files: Bradley–Terry, intervals, sign tests")
    .argument(
      "<files...>",
      "JSONL of battles (ab's or the arena's export), of {left, right, winner}, FastChat's pairs or scores, AlpacaEval's annotations",
    )
    .option("--category <name>", "only this one")
    .option("--html <file>", "writes the report too")
    .option("--json", "prints the leaderboard as JSON")
    .addHelpText(
      "after",
      `
Examples:
  $ toast-serve ab rate gpt-4_pair.jsonl
      FastChat's verdicts on MT-bench: each turn counts as a game, and differing verdicts of the two orders as a tie
  $ toast-serve ab rate ab-*/battles.jsonl
      one table of several runs: contestants of the same name are the same
  $ curl -s localhost:8000/v1/arena/battles > battles.jsonl && toast-serve ab rate battles.jsonl --html arena.html`,
    )
    .action((files: readonly string[], flags: RateFlags) => rate(files, flags, terminal));
}

const examples = `
A contestant (--left, --right, --judge) is one of
  mine, mine:alpaca                  a model of --models-dir, plain or steered; mine:alpaca@0.5 at half strength
  mine+happy@0.8+formal@-0.5         with control vectors, 8 at most; mine:alpaca@0.5+happy@0.8 with both
  mine+happy@0.8:12-18               in layers 12 to 18 only
  ./my-model, ./my-model:alpaca      a converted model folder, steered likewise
  answer_vicuna-13b.jsonl            recorded answers: Vicuna bench, MT-bench, AlpacaEval (.json, .json.xz), own {id, text}
  http://localhost:11434/v1#llama3   a model behind an OpenAI-compatible URL (key from OPENAI_API_KEY)
  my-vicuna                          an id of --contestants: with a prompt template or a system message of its own, say

A prompt of two turns (MT-bench) is asked on by both, each behind its own first answer, and judged after each turn.
What is done is kept in <out>/journal.jsonl as it is done: run the same command again to go on after an interruption.
It writes <out>/battles.jsonl (a record a line) and <out>/report.html (one file, no network).

Examples:
  $ toast-serve ab --left mine --right mine:alpaca --prompts question.jsonl
      answers of base and steered side by side, unjudged
  $ toast-serve ab --left SmolLM2-135M-Instruct+happy@1 --right told-to-be-happy --contestants told.json --prompts question.jsonl
      a control vector against a system message, which told.json holds:
      [{"id": "told-to-be-happy", "model": "SmolLM2-135M-Instruct", "system": "Act as if you are extremely happy."}]
  $ toast-serve ab --left mine:alpaca --right answer_alpaca-13b.jsonl --prompts question.jsonl \\
      --judge https://api.openai.com/v1#gpt-4.1
      against published answers, judged by a model in both orders
  $ toast-serve ab --left a.jsonl --right b.jsonl --prompts question.jsonl --verdicts votes.jsonl --import-to http://localhost:8000
      votes of people, put into a running arena`;

async function run(flags: AbFlags, terminal: Terminal, stop: AbortSignal): Promise<void> {
  if (flags.judge !== undefined && flags.verdicts !== undefined) {
    throw new ToastError("invalid_option", "--judge and --verdicts both say who is better: give one of them.");
  }
  // Not commander's requiredOption, which 'ab rate' would have to give too.
  if (flags.left === undefined || flags.right === undefined || flags.prompts === undefined) {
    throw new ToastError(
      "invalid_option",
      "A comparison needs --left, --right and --prompts; 'toast-serve ab --help' shows some. Votes that exist already are rated by 'toast-serve ab rate <file>'.",
    );
  }
  const prompts = await readPromptSet(flags.prompts, flags.limit ?? null, flags.turns ?? null);
  const said = flags.verdicts === undefined ? null : await readVerdicts(flags.verdicts);
  const progress = progressLine(terminal, "Comparing");
  const words = [flags.left, flags.right, ...(flags.judge === undefined ? [] : [flags.judge])];
  const { opened, close } = await openContestants(words, flags, terminal, (stage) => progress.update(stage, 0));
  try {
    const [left, right, judge] = opened;
    if (left === undefined || right === undefined) throw new Error("A contestant is missing.");
    const [leftName, rightName] = [nameOf(left), nameOf(right)];
    if (leftName === rightName) {
      throw new ToastError(
        "invalid_option",
        `Both sides are called '${leftName}'. Give one of them another name (in --contestants), or compare it with another.`,
      );
    }
    const given = said === null ? null : verdictsOn(said, prompts, { left: leftName, right: rightName });
    for (const remark of given?.remarks ?? []) terminal.err(remark);
    const plan: BatchPlan = {
      left,
      right,
      prompts,
      parameters: { temperature: flags.temperature, topP: flags.topP, maxTokens: flags.maxTokens },
      seed: flags.seed,
      judge: judgeOf(judge),
      verdicts: given?.verdicts ?? null,
      concurrency: flags.concurrency,
    };
    const out = flags.out ?? `ab-${fileName(leftName)}-vs-${fileName(rightName)}`;
    await mkdir(out, { recursive: true });
    const { battles, unreadable } = await runBatch(
      plan,
      join(out, "journal.jsonl"),
      (stage, share) => progress.update(stage, share),
      stop,
    );
    progress.end();
    const records = battles.map(({ record }) => record);
    const items = records.flatMap((record) => (record.vote === null ? [] : [ratedItem(record, record.vote)]));
    await writeWholeFile(join(out, "battles.jsonl"), linesOf(records));
    await writeWholeFile(
      join(out, "report.html"),
      reportHtml({
        title: `${leftName} against ${rightName}`,
        createdAt: new Date(),
        facts: factsOf(flags, plan, unreadable),
        items,
        records,
        promptIds: battles.map(({ promptId }) => promptId),
      }),
    );
    for (const line of items.length === 0 ? [] : tableOf(items)) terminal.out(line);
    if (unreadable > 0)
      terminal.err(`${unreadable} of ${records.length} judgments could not be read and have no verdict.`);
    if (items.length === 0) terminal.out(`${records.length} pairs of answers, unjudged.`);
    if (flags.importTo !== undefined) terminal.out(await importTo(flags.importTo, records, terminal.environment));
    terminal.out(`Written: ${join(out, "battles.jsonl")}, ${join(out, "report.html")}`);
  } finally {
    progress.end();
    await close();
  }
}

async function rate(files: readonly string[], { html, json, category }: RateFlags, terminal: Terminal): Promise<void> {
  const all = (await Promise.all(files.map(readRatedItems))).flat();
  const items = category === undefined ? all : all.filter((item) => item.category === category);
  if (items.length === 0) {
    const known = [...new Set(all.map((item) => item.category ?? "none"))].join(", ");
    const message =
      category === undefined
        ? "There are no votes in these files."
        : `There are no votes of category '${category}'; there are: ${known}.`;
    throw new ToastError("invalid_option", message);
  }
  if (json === true) terminal.out(JSON.stringify(toWire(leaderboardOf(items.map(({ match }) => match))), null, 2));
  else for (const line of tableOf(items)) terminal.out(line);
  if (html === undefined) return;
  const records = items.flatMap(({ record }) => (record === null ? [] : [record]));
  const facts = [
    ["Files", files.map((file) => basename(file)).join(", ")],
    ["Battles", String(items.length)],
    ...(category === undefined ? [] : [["Category", category]]),
  ] as [string, string][];
  await writeWholeFile(
    html,
    reportHtml({ title: "Ratings", createdAt: new Date(), facts, items, records, promptIds: null }),
  );
  terminal.err(`Written: ${html}`);
}

/** The leaderboard as text, with what has to be known of it. */
function tableOf(items: readonly RatedItem[]): readonly string[] {
  const board = leaderboardOf(items.map(({ match }) => match));
  const longest = Math.max(...board.standings.map(({ contestant }) => contestant.length), 10);
  const rows = board.standings.map((one) =>
    [
      places(one).padStart(5),
      one.contestant.padEnd(longest),
      one.rating.toFixed(0).padStart(6),
      `${one.low.toFixed(0)}–${one.high.toFixed(0)}`.padStart(11),
      percent(one.winRate).padStart(8),
      percent(one.lengthControlledWinRate).padStart(12),
      `${one.wins}/${one.ties + one.bothBad}/${one.losses}`.padStart(12),
    ].join("  "),
  );
  const head = [
    " rank",
    "contestant".padEnd(longest),
    "rating",
    "95 %".padStart(11),
    "win rate",
    "equal length",
    "win/tie/loss",
  ].join("  ");
  const { left, right, p } = board.position;
  return [
    verdictSentence(board),
    "",
    head,
    ...rows,
    "",
    ...turnLines(items),
    `Places: first or left ${left}, second or right ${right} (p ${pValue(p)}).`,
    ...board.notes,
  ];
}

/** Who won how often after one turn and after more, as MT-bench's figures are told. */
function turnLines(items: readonly RatedItem[]): readonly string[] {
  return byTurns(items).map(({ turn, items: ours }) => {
    const { standings } = leaderboardOf(
      ours.map(({ match }) => match),
      // Of its intervals nothing is told.
      { rounds: 1 },
    );
    const rates = standings.map((one) => `${one.contestant} ${percent(one.winRate)}`);
    return `Win rates of the ${ours.length} battles of ${turn === 1 ? "one turn" : `${turn} turns`}: ${rates.join(", ")}.`;
  });
}

function judgeOf(judge: BatchContestant | undefined): BatchPlan["judge"] {
  if (judge === undefined) return null;
  if (judge.kind === "recorded")
    throw new ToastError("invalid_option", "--judge must be a model; recorded verdicts go with --verdicts.");
  return judge;
}

function nameOf(contestant: BatchContestant): string {
  return contestant.kind === "recorded" ? contestant.answers.id : contestant.contestant.id;
}

function factsOf(
  flags: AbFlags,
  { left, right, prompts, judge, verdicts }: BatchPlan,
  unreadable: number,
): readonly (readonly [string, string])[] {
  const judged =
    judge === null
      ? verdicts === null
        ? "nobody"
        : `verdicts of ${basename(flags.verdicts ?? "")}`
      : `${judge.contestant.id}, both orders; differing verdicts are ties`;
  return [
    ["Prompts", `${prompts.length} of ${basename(flags.prompts ?? "")}${turnsOf(prompts)}`],
    ...(left.kind === "recorded" && right.kind === "recorded"
      ? []
      : [
          [
            "Sampling",
            `temperature ${flags.temperature}, top-p ${flags.topP}, ${flags.maxTokens} tokens at most, seed ${flags.seed}`,
          ] as const,
        ]),
    ["Judged by", judged],
    ...(unreadable === 0
      ? []
      : [["Unreadable", `${unreadable} judgments could not be read and have no verdict`] as const]),
  ];
}

function turnsOf(prompts: BatchPlan["prompts"]): string {
  const battles = prompts.reduce((sum, { turns }) => sum + 1 + turns.length, 0);
  return battles === prompts.length ? "" : `, ${battles} turns, each judged as a battle`;
}

/** @returns what became of it, in a sentence. */
async function importTo(
  place: string,
  records: readonly BattleRecord[],
  environment: NodeJS.ProcessEnv,
): Promise<string> {
  if (/^https?:/.test(place)) {
    const { TOAST_ADMIN_KEY: key } = environment;
    const response = await fetch(`${place.replace(/\/+$/, "")}/v1/arena/import`, {
      method: "POST",
      redirect: "error",
      headers: {
        "content-type": "application/x-ndjson",
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      },
      body: linesOf(records),
    }).catch((cause: unknown) => {
      throw new ToastError("server_refused", `${place} cannot be reached; the battles are in battles.jsonl.`, {
        cause,
      });
    });
    if (!response.ok) {
      throw new ToastError(
        "server_refused",
        `${place} did not take the battles (${response.status}): ${(await response.text()).slice(0, 300)}`,
      );
    }
    const { imported, known } = (await response.json()) as { imported: number; known: number };
    return `Imported into ${place}: ${imported} new, ${known} known.`;
  }
  const isUrl = /^postgres(ql)?:/.test(place);
  const store = await openStore({ databaseUrl: isUrl ? place : null, dataDir: place });
  try {
    const { imported, known } = await store.importRecords(records);
    return `Imported${isUrl ? "" : ` into ${place}`}: ${imported} new, ${known} known.`;
  } finally {
    await store.close();
  }
}

function linesOf(records: readonly BattleRecord[]): string {
  return records.map((record) => `${JSON.stringify(toWire(record))}\n`).join("");
}

function fileName(name: string): string {
  return name.replace(/[^\w.@+-]+/g, "-");
}

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

function fraction(max: number): (text: string) => number {
  return (text) => {
    if (!/^\d{1,3}(\.\d{1,9})?$/.test(text) || Number(text) > max)
      throw new InvalidArgumentError(`It must be a number from 0 to ${max}.`);
    return Number(text);
  };
}
