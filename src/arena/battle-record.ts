import { z } from "zod";
import { ToastError } from "../errors.js";
import { type Winner, winners } from "./ratings/match.js";

/**
 * A battle as it is stored, exported and imported. On the wire and in files its keys are snake_case; the schema below
 * speaks our own names, and {@link toWire} and {@link recordFromWire} stand in between.
 */

const nullable = <Schema extends z.ZodType>(schema: Schema) => schema.nullish().transform((value) => value ?? null);

/** Neither U+0000 nor half a surrogate pair can be stored as JSON by Postgres. */
const storable = z.string().transform(storableText);

export function storableText(text: string): string {
  return Buffer.from(text.replaceAll("\u0000", "\ufffd"), "utf8").toString("utf8");
}

const name = z.string().min(1).max(200).transform(storableText);
const count = nullable(z.number().int().min(0));

const layers = z.tuple([z.number().int(), z.number().int()]);

/** What steered an answer, as the server tells it: an adapter, control vectors, or both. */
export const toldSteering = z.object({
  adapter: storable.optional(),
  strength: z.number().optional(),
  layers: layers.optional(),
  vectors: z.array(z.object({ name: storable, strength: z.number(), layers })).optional(),
});

export const sideSchema = z.object({
  /** Whom the statistics count it for. */
  contestant: name,
  label: nullable(name),
  /**
   * Where the answer came from: a model of this server, another server, a file of recorded answers, or nobody knows.
   */
  kind: z.enum(["served", "remote", "recorded", "unknown"]).default("unknown"),
  model: nullable(storable),
  adapter: nullable(storable),
  steering: nullable(toldSteering),
  /** Message that the contestant puts before every conversation. */
  system: nullable(storable),
  systemFingerprint: nullable(storable),
  weightsHash: nullable(storable),
  adapterHash: nullable(storable),
  /** Of the control vectors that steered, in their order. */
  vectorHashes: nullable(z.array(z.object({ name: storable, hash: storable }))),
  /** Prompt template that the arena itself applied; null: the model's own. */
  template: nullable(storable),
  /** Null: only the verdict is known. */
  text: nullable(storable),
  promptTokens: count,
  completionTokens: count,
  firstTokenMs: nullable(z.number().min(0)),
  totalMs: nullable(z.number().min(0)),
  finishReason: nullable(storable),
});

const parametersSchema = z.object({
  temperature: nullable(z.number()),
  topP: nullable(z.number()),
  maxTokens: nullable(z.number().int()),
});

const date = z.iso.datetime({ offset: true }).transform((text) => new Date(text));

const voteSchema = z.object({
  winner: z.enum(winners),
  /** `human`, or the judging model's id. */
  judge: name.default("human"),
  votedAt: date,
  /** What a judge said, call by call; `places` among it, if it was asked in both orders. */
  details: z
    .unknown()
    .optional()
    .transform((value) => (value === undefined ? null : storableJson(value))),
});

/** What was said after the first answers: one message to both, each of whom goes on with its own conversation. */
const turnSchema = z.object({
  createdAt: date,
  prompt: storable,
  left: sideSchema,
  right: sideSchema,
});

export const recordSchema = z.object({
  id: z.string().regex(/^[\w.:-]{1,100}$/, "must be 1 to 100 letters, digits or one of . : _ -"),
  source: z.enum(["arena", "batch", "import"]).default("import"),
  createdAt: date,
  category: nullable(name),
  messages: z.array(z.object({ role: z.enum(["system", "user", "assistant"]), content: storable })),
  parameters: parametersSchema.default({ temperature: null, topP: null, maxTokens: null }),
  seed: nullable(z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)),
  left: sideSchema,
  right: sideSchema,
  /** Turns behind the first one, in their order; the vote is on all of them together. */
  turns: z.array(turnSchema).default([]),
  vote: nullable(voteSchema),
});

export type BattleSide = z.output<typeof sideSchema>;
export type BattleParameters = z.output<typeof parametersSchema>;
export type BattleVote = z.output<typeof voteSchema>;
export type BattleTurn = z.output<typeof turnSchema>;
export type BattleRecord = z.output<typeof recordSchema>;
export type Battle = Omit<BattleRecord, "vote">;
export type BattleSource = BattleRecord["source"];
export type SideName = "left" | "right";

/** Length of an answer as length control counts it: characters, as AlpacaEval. */
export function charactersOf({ text }: BattleSide): number | null {
  return text === null ? null : text.length;
}

/** Length of all that one side said; null where a part of it is not known. */
export function charactersOfAll(record: Pick<Battle, SideName | "turns">, side: SideName): number | null {
  const lengths = [record, ...record.turns].map((said) => charactersOf(said[side]));
  return lengths.reduce((sum, length) => (sum === null || length === null ? null : sum + length), 0);
}

/** The conversation that one side has had, as its contestant is asked to go on with it. */
export function conversationOf(
  record: Pick<Battle, SideName | "messages" | "turns">,
  side: SideName,
): Battle["messages"] {
  const answer = (said: Pick<Battle, SideName>) => ({ role: "assistant" as const, content: said[side].text ?? "" });
  return [
    ...record.messages,
    answer(record),
    ...record.turns.flatMap((turn) => [{ role: "user" as const, content: turn.prompt }, answer(turn)]),
  ];
}

/** @throws ToastError `invalid_request`, naming the key at fault as the file has it. */
export function recordFromWire(value: unknown, where: string): BattleRecord {
  const parsed = recordSchema.safeParse(renameKeys(value, camelCase), { reportInput: true });
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path.map((part) => snakeCase(String(part))).join(".") ?? "";
  const subject = path === "" ? "the record" : `'${path}'`;
  throw new ToastError("invalid_request", `${where}: ${subject} ${faultOf(issue)}.`);
}

/** What is wrong with a field, without the words of the library that found it. */
function faultOf(issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code !== "invalid_type") return "does not hold what a record has there (docs/arena.md)";
  return issue.input === undefined ? "is missing" : `must be of type ${issue.expected}`;
}

/** A value as {@link toWire} writes it. */
type Wire<Value> = Value extends Date
  ? string
  : Value extends readonly (infer Item)[]
    ? Wire<Item>[]
    : Value extends object
      ? { [Key in keyof Value as SnakeCase<Key>]: Wire<Value[Key]> }
      : Value;
type SnakeCase<Key> = Key extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${SnakeCase<Rest>}`
  : Key;

/** Keys in snake_case, dates as text; fit for JSON.stringify. */
export function toWire<Value extends object>(value: Value): Wire<Value> {
  return renameKeys(value, snakeCase) as Wire<Value>;
}

/** Messages have keys that are both cases at once, and values are left alone. */
function renameKeys(value: unknown, rename: (key: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item) => renameKeys(item, rename));
  if (value instanceof Date) return value.toISOString();
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [rename(key), renameKeys(item, rename)]));
}

export function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function camelCase(key: string): string {
  return key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function storableJson(value: unknown): unknown {
  if (typeof value === "string") return storableText(value);
  if (Array.isArray(value)) return value.map(storableJson);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [storableText(key), storableJson(item)]));
}

/** What a judge that was asked more than once said of the places; nothing where it was shown one answer at a time. */
export function placesOf(vote: { readonly winner: Winner; readonly details: unknown }): readonly Winner[] {
  const parsed = z.object({ places: z.array(z.enum(winners)) }).safeParse(vote.details);
  return parsed.success ? parsed.data.places : [vote.winner];
}
