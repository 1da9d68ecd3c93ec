import { sql } from "drizzle-orm";
import { bigint, check, index, integer, jsonb, pgTable, primaryKey, text, timestamp } from "drizzle-orm/pg-core";
import type { BattleParameters, BattleSide } from "../battle-record.js";

/** One row for each battle that was shown or imported; never changed (a trigger sees to that, see migrations/). */
export const battles = pgTable(
  "battles",
  {
    id: text("id").primaryKey(),
    source: text("source").notNull(),
    createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull(),
    category: text("category"),
    messages: jsonb("messages").notNull().$type<readonly { readonly role: string; readonly content: string }[]>(),
    parameters: jsonb("parameters").notNull().$type<BattleParameters>(),
    seed: bigint("seed", { mode: "number" }),
    // What statistics need stands beside the sides, so that a leaderboard reads no texts.
    leftContestant: text("left_contestant").notNull(),
    rightContestant: text("right_contestant").notNull(),
    leftCharacters: integer("left_characters"),
    rightCharacters: integer("right_characters"),
    left: jsonb("left").notNull().$type<BattleSide>(),
    right: jsonb("right").notNull().$type<BattleSide>(),
    /**
     * SHA-256 of the secret that a vote has to bring, hex; null: this battle takes no votes (imported, or a batch's).
     */
    ballotHash: text("ballot_hash"),
  },
  (table) => [
    index("battles_created_at").on(table.createdAt, table.id),
    index("battles_category").on(table.category),
    check("battles_source", sql`${table.source} in ('arena', 'batch', 'import')`),
  ],
);

/** What was said after a battle's first answers; added before its vote, never changed. */
export const turns = pgTable(
  "turns",
  {
    battleId: text("battle_id")
      .notNull()
      .references(() => battles.id),
    /** 2 for the first one behind the battle's own. */
    number: integer("number").notNull(),
    createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull(),
    prompt: text("prompt").notNull(),
    leftCharacters: integer("left_characters"),
    rightCharacters: integer("right_characters"),
    left: jsonb("left").notNull().$type<BattleSide>(),
    right: jsonb("right").notNull().$type<BattleSide>(),
  },
  (table) => [primaryKey({ columns: [table.battleId, table.number] })],
);

/** One vote for each battle: the key forbids a second. */
export const votes = pgTable(
  "votes",
  {
    battleId: text("battle_id")
      .primaryKey()
      .references(() => battles.id),
    winner: text("winner").notNull(),
    judge: text("judge").notNull(),
    votedAt: timestamp("voted_at", { withTimezone: true, mode: "date" }).notNull(),
    details: jsonb("details").$type<unknown>(),
  },
  (table) => [check("votes_winner", sql`${table.winner} in ('left', 'right', 'tie', 'bothBad')`)],
);

/** A judge's own words stay where they are. */
export const places = sql<unknown>`${votes.details} -> 'places'`;
