import { randomInt } from "node:crypto";
import { z } from "zod";
import { type BattleSource, storableText } from "../arena/battle-record.js";
import type { ArenaMessage, Question, SteeringChoice } from "../arena/contestants/contestant.js";
import { type Winner, winners } from "../arena/ratings/match.js";
import type { BattleFilter } from "../arena/store/battle-store.js";
import { ToastError } from "../errors.js";
import type { OtherOperation } from "../openai/openapi-document.js";
import { field, optional, parseBody } from "../openai/request-fields.js";

/** Long enough for any answer that people read to its end. */
const maxTokensLimit = 4096;
const defaultMaxTokens = 512;
const defaultTemperature = 0.7;

const words = z.string(field("a string")).transform(storableText);
const text = words.refine((value) => value.trim() !== "", "must not be empty.");

const message = z.object(
  {
    role: z.enum(["system", "user", "assistant"], field("system, user or assistant")),
    content: words,
  },
  field("an object with `role` and `content`, a string"),
);

const number = (min: number, max: number) =>
  z
    .number(field(`a number from ${min} to ${max}`))
    .min(min, `must be ${min} at least.`)
    .max(max, `must be ${max} at most.`);
const integer = (min: number, max: number) =>
  z
    .int(field(`an integer from ${min} to ${max}`))
    .min(min, `must be ${min} at least.`)
    .max(max, `must be ${max} at most.`);

const question = {
  prompt: optional(text),
  messages: optional(z.array(message, field("an array of messages")).min(1, "must hold at least one message.")),
  temperature: optional(number(0, 2)),
  top_p: optional(number(0, 1)),
  max_tokens: optional(integer(1, maxTokensLimit)),
  seed: optional(integer(0, Number.MAX_SAFE_INTEGER)),
};

const id = z.string(field("a contestant's id (see GET /v1/contestants)"));

const battleSchema = z.object(
  {
    ...question,
    category: optional(text.refine((value) => value.length <= 100, "must have 100 characters at most.")),
    contestants: optional(z.tuple([id, id], field("an array of two contestants' ids"))),
  },
  field("a JSON object"),
);

const steering = z.strictObject(
  {
    adapter: z.string(field("an adapter's name")).optional(),
    strength: number(0, 4).optional(),
    layers: z.tuple([integer(0, 10_000), integer(0, 10_000)], field("[from, to]")).optional(),
  },
  field("an object such as {strength: 0.5}"),
);
const chosen = z.preprocess(
  (value) => (typeof value === "string" ? { contestant: value } : value),
  z.object({ contestant: id, steering: optional(steering) }, field("a contestant's id, or {contestant, steering}")),
);

const compareSchema = z.object(
  { ...question, contestants: z.tuple([chosen, chosen], field("an array of two contestants")) },
  field("a JSON object"),
);

const voteSchema = z.object(
  {
    ballot: z.string(field("the ballot of the battle's last frame")).max(100, "is too long to be a ballot."),
    winner: z.enum(winners, field(`one of ${winners.join(", ")}`)),
  },
  field("a JSON object"),
);

const filters = ["category", "source", "judge"].map((name) => ({
  name,
  in: "query",
  required: false,
  schema: { type: "string" },
}));

/** For /openapi.json. */
export const arenaOperations: readonly OtherOperation[] = [
  {
    method: "get",
    path: "/v1/contestants",
    name: "listContestants",
    summary: "Who can be compared: models served here, and configured servers elsewhere.",
    answer: { description: "A list.", contentType: "application/json" },
    failures: [],
  },
  {
    method: "post",
    path: "/v1/compare",
    name: "compare",
    summary: "Two answers to one prompt, side by side.",
    body: { "application/json": compareSchema },
    answer: { description: "Frames of both sides as they come (docs/arena.md).", contentType: "text/event-stream" },
    failures: [400, 404, 413, 503],
  },
  {
    method: "post",
    path: "/v1/arena/battles",
    name: "startBattle",
    summary: "Two answers at equal pace, without names.",
    body: { "application/json": battleSchema },
    answer: { description: "Frames, the last with the ballot (docs/arena.md).", contentType: "text/event-stream" },
    failures: [400, 404, 413, 503],
  },
  {
    method: "post",
    path: "/v1/arena/battles/{id}/vote",
    name: "vote",
    summary: "One vote of whoever has read both answers; tells the names.",
    parameters: [{ name: "id", in: "path", required: true, schema: { type: "string" } }],
    body: { "application/json": voteSchema },
    answer: { description: "The battle's record.", contentType: "application/json" },
    failures: [400, 404, 413],
  },
  {
    method: "get",
    path: "/v1/arena/leaderboard",
    name: "leaderboard",
    summary: "Ratings with intervals, and what they cannot tell apart.",
    parameters: filters,
    answer: { description: "The leaderboard.", contentType: "application/json" },
    failures: [400],
  },
  {
    method: "get",
    path: "/v1/arena/battles",
    name: "exportBattles",
    summary: "Every record, oldest first. For operators.",
    parameters: filters,
    answer: { description: "One record a line.", contentType: "application/x-ndjson" },
    failures: [400],
  },
  {
    method: "post",
    path: "/v1/arena/import",
    name: "importBattles",
    summary: "Takes records in; known ones are passed over. For operators.",
    body: { "application/x-ndjson": "One record a line." },
    answer: { description: "How many were new, and how many known.", contentType: "application/json" },
    failures: [400, 413],
  },
];

export interface BattleRequest {
  readonly question: Question;
  readonly category: string | null;
  readonly contestants: readonly [string, string] | null;
}

export interface CompareRequest {
  readonly question: Question;
  readonly contestants: readonly [ChosenContestant, ChosenContestant];
}

export interface ChosenContestant {
  readonly contestant: string;
  readonly steering: SteeringChoice | null;
}

/** @throws ToastError `invalid_request` */
export function parseBattleRequest(body: unknown): BattleRequest {
  const { category, contestants, ...rest } = parseBody(battleSchema, body);
  return { question: questionOf(rest), category, contestants };
}

/** @throws ToastError `invalid_request` */
export function parseCompareRequest(body: unknown): CompareRequest {
  const { contestants, ...rest } = parseBody(compareSchema, body);
  return { question: questionOf(rest), contestants };
}

/** @throws ToastError `invalid_request` */
export function parseVoteRequest(body: unknown): { readonly ballot: string; readonly winner: Winner } {
  return parseBody(voteSchema, body);
}

const sources = ["arena", "batch", "import"] as const satisfies readonly BattleSource[];

/** @throws ToastError `invalid_request` */
export function parseFilter(query: Readonly<Record<string, string>>): BattleFilter {
  const { category, judge, source: wanted } = query;
  const source = sources.find((one) => one === wanted);
  if (wanted !== undefined && source === undefined) {
    throw new ToastError("invalid_request", `'source' must be one of ${sources.join(", ")}.`, { param: "source" });
  }
  return { category: storable(category), source, judge: storable(judge) };
}

function storable(text: string | undefined): string | undefined {
  return text === undefined ? undefined : storableText(text);
}

function questionOf(given: {
  readonly prompt: string | null;
  readonly messages: readonly ArenaMessage[] | null;
  readonly temperature: number | null;
  readonly top_p: number | null;
  readonly max_tokens: number | null;
  readonly seed: number | null;
}): Question {
  const { prompt, messages } = given;
  if ((prompt === null) === (messages === null)) {
    const message = "Give either 'prompt', a text, or 'messages', a conversation.";
    throw new ToastError("invalid_request", message, { param: prompt === null ? "prompt" : "messages" });
  }
  return {
    messages: messages ?? [{ role: "user", content: prompt ?? "" }],
    temperature: given.temperature ?? defaultTemperature,
    topP: given.top_p ?? 1,
    maxTokens: given.max_tokens ?? defaultMaxTokens,
    seed: given.seed ?? randomInt(2 ** 32),
  };
}
