import { randomInt } from "node:crypto";
import { z } from "zod";
import { type BattleSource, storableText } from "../../arena/battle-record.js";
import type { ArenaMessage, Question } from "../../arena/contestants/contestant.js";
import { winners } from "../../arena/ratings/match.js";
import type { BattleFilter } from "../../arena/store/battle-store.js";
import { ToastError } from "../../errors.js";
import { list, mostItems } from "../../openai/list-fields.js";
import { requestSchemas } from "../../openai/named-schemas.js";
import { field, integer, number, optional, shownAs } from "../../openai/request-fields.js";
import { type SteeringChoice, steeringChoice } from "../../openai/steering-field.js";

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

const question = {
  prompt: optional(text),
  messages: optional(list(message, { expected: "an array of messages", item: "message", min: 1, max: mostItems })),
  temperature: optional(number(0, 2)),
  top_p: optional(number(0, 1)),
  max_tokens: optional(integer(1, maxTokensLimit)),
  seed: optional(integer(0, Number.MAX_SAFE_INTEGER)),
};

const id = z
  .string(field("a contestant's id (see GET /v1/contestants)"))
  .describe("An id of GET /v1/contestants, or a served model with what steers it: `mine:alpaca@0.5+happy@0.8`.");

export const battleSchema = z
  .object(
    {
      ...question,
      category: optional(text.refine((value) => value.length <= 100, "must have 100 characters at most.")),
      contestants: optional(z.tuple([id, id], field("an array of two contestants' ids"))),
    },
    field("a JSON object"),
  )
  .register(requestSchemas, { id: "BattleRequest" });

const choice = z.object(
  {
    contestant: id,
    steering: optional(steeringChoice),
    system: optional(text).describe("Put before the conversation; default: the contestant's own, if it has one."),
  },
  field("a contestant's id, or {contestant, steering, system}"),
);
const chosen = shownAs(
  z.preprocess((value) => (typeof value === "string" ? { contestant: value } : value), choice),
  z.union([id, choice]),
);

export const compareSchema = z
  .object(
    { ...question, contestants: z.tuple([chosen, chosen], field("an array of two contestants")) },
    field("a JSON object"),
  )
  .register(requestSchemas, { id: "CompareRequest" });

const ballot = z
  .string(field("the ballot of the battle's last frame"))
  .max(100, "is too long to be a ballot.")
  .describe("The secret of the battle's last frame.");

export const turnSchema = z
  .object({ ballot, prompt: text.describe("What both are asked next.") }, field("a JSON object"))
  .register(requestSchemas, { id: "TurnRequest" });

export type TurnRequest = z.output<typeof turnSchema>;

export const voteSchema = z
  .object(
    {
      ballot,
      winner: z.enum(winners, field(`one of ${winners.join(", ")}`)),
    },
    field("a JSON object"),
  )
  .register(requestSchemas, { id: "VoteRequest" });

/** Parameters of the query that choose battles. */
export const filters = ["category", "source", "judge"];

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
  readonly system: string | null;
}

/** @throws ToastError `invalid_request` */
export function battleRequest({ category, contestants, ...rest }: z.output<typeof battleSchema>): BattleRequest {
  return { question: questionOf(rest), category, contestants };
}

/** @throws ToastError `invalid_request` */
export function compareRequest({ contestants, ...rest }: z.output<typeof compareSchema>): CompareRequest {
  return { question: questionOf(rest), contestants };
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
