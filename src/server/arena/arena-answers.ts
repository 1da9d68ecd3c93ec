import { z } from "zod";
import { recordSchema, sideSchema } from "../../arena/battle-record.js";
import { sideNames } from "../../arena/battles/two-answers.js";
import { errorEnvelopeSchema } from "../../openai/error-envelope.js";
import { responseSchemas } from "../../openai/named-schemas.js";
import { shownAs } from "../../openai/request-fields.js";
import { steeringChoice } from "../../openai/steering-field.js";

const json = z.record(z.string(), z.unknown());
/** As `toWire` writes it, which is as an import takes it. */
export const battleRecordSchema = shownAs(
  json.describe("A battle, who answered, and what the vote was."),
  recordSchema,
).register(responseSchemas, { id: "BattleRecord" });
const battleSide = shownAs(json.describe("One side of a record."), sideSchema);

const side = z.enum(sideNames);
const name = z.object({ contestant: z.string(), label: z.string() });
const text = z.object({ kind: z.literal("text"), side, text: z.string() });

export const comparisonFrameSchema = z
  .discriminatedUnion("kind", [
    z.object({ kind: z.literal("start"), seed: z.int(), sides: z.object({ left: name, right: name }) }),
    text,
    z.object({ kind: z.literal("end"), side, answer: battleSide }).describe("That side is complete."),
    errorEnvelopeSchema.extend({ kind: z.literal("error"), side }).describe("That side failed; the other goes on."),
    z.object({ kind: z.literal("done") }),
  ])
  .describe("One event of POST /v1/compare.")
  .register(responseSchemas, { id: "ComparisonFrame" });

export const battleFrameSchema = z
  .discriminatedUnion("kind", [
    z.object({ kind: z.literal("battle"), id: z.string() }),
    text,
    z.object({ kind: z.literal("end"), side }),
    z.object({ kind: z.literal("complete"), id: z.string(), ballot: z.string().describe("What a vote has to bring.") }),
    errorEnvelopeSchema.extend({ kind: z.literal("void") }).describe("Instead of `complete`: nothing is stored."),
  ])
  .describe("One event of POST /v1/arena/battles. None tells who answers.")
  .register(responseSchemas, { id: "BattleFrame" });

const contestant = z.object({
  ...name.omit({ contestant: true }).shape,
  id: z.string(),
  kind: z.enum(["served", "remote", "recorded"]),
  model: z.string().nullable(),
  steering: steeringChoice.nullable(),
  system: z.string().nullable().describe("What stands before every conversation."),
  template: z.string().nullable(),
  arena: z.boolean().describe("Whether random pairs may draw it."),
});

export const contestantListSchema = z
  .object({ object: z.literal("list"), data: z.array(contestant) })
  .register(responseSchemas, { id: "ContestantList" });

const tally = { wins: z.int(), losses: z.int(), ties: z.int(), both_bad: z.int(), win_rate: z.number() };
const atEqualLength = { length_controlled_win_rate: z.number().nullable() };
const standing = z.object({
  contestant: z.string(),
  rank: z.int().describe("1 + how many of its group are better beyond both intervals."),
  last_rank: z.int().describe("The last that its interval leaves it."),
  rating: z.number(),
  low: z.number(),
  high: z.number(),
  group: z.int().describe("Ratings of different groups cannot be compared."),
  battles: z.int(),
  ...tally,
  ...atEqualLength,
  length_controlled_rating: z.number().nullable(),
  mean_characters: z.number().nullable(),
});
const pairing = z.object({
  a: z.string().describe("The higher rated."),
  b: z.string(),
  ...tally,
  ...atEqualLength,
  sign_test_p: z.number(),
  expected_win_rate: z.number(),
  separable: z.boolean().describe("Whether the ratings' intervals do not overlap."),
});

export const leaderboardSchema = z
  .object({
    object: z.literal("leaderboard"),
    category: z.string().nullable(),
    categories: z.array(z.string()),
    computed_at: z.iso.datetime().describe("When the votes were read that it was computed from."),
    battles: z.int(),
    rounds: z.int(),
    confidence: z.number(),
    contestants: z.array(standing).describe("Best first, group after group."),
    pairs: z.array(pairing),
    position: z.object({ left: z.int(), right: z.int(), left_share: z.number().nullable(), p: z.number() }),
    length_effect: z.number().nullable(),
    notes: z.array(z.string()),
  })
  .describe("Ratings with intervals, and what they cannot tell apart (docs/arena.md).")
  .register(responseSchemas, { id: "Leaderboard" });

export const importCountSchema = z
  .object({ imported: z.int(), known: z.int().describe("Were there already.") })
  .register(responseSchemas, { id: "ImportCount" });
