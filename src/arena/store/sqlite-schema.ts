import { sql } from "drizzle-orm";
import { check, index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { BattleParameters, BattleSide } from "../battle-record.js";

/** The tables of `postgres-schema.ts`, with SQLite's types: times in milliseconds since 1970, JSON as text. */
export const battles = sqliteTable(
  "battles",
  {
    id: text("id").primaryKey(),
    source: text("source").notNull(),
    createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
    category: text("category"),
    messages: text("messages", { mode: "json" })
      .notNull()
      .$type<readonly { readonly role: string; readonly content: string }[]>(),
    parameters: text("parameters", { mode: "json" }).notNull().$type<BattleParameters>(),
    seed: integer("seed"),
    leftContestant: text("left_contestant").notNull(),
    rightContestant: text("right_contestant").notNull(),
    leftCharacters: integer("left_characters"),
    rightCharacters: integer("right_characters"),
    left: text("left", { mode: "json" }).notNull().$type<BattleSide>(),
    right: text("right", { mode: "json" }).notNull().$type<BattleSide>(),
    ballotHash: text("ballot_hash"),
  },
  (table) => [
    index("battles_created_at").on(table.createdAt, table.id),
    index("battles_category").on(table.category),
    check("battles_source", sql`${table.source} in ('arena', 'batch', 'import')`),
  ],
);

export const turns = sqliteTable(
  "turns",
  {
    battleId: text("battle_id")
      .notNull()
      .references(() => battles.id),
    number: integer("number").notNull(),
    createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
    prompt: text("prompt").notNull(),
    leftCharacters: integer("left_characters"),
    rightCharacters: integer("right_characters"),
    left: text("left", { mode: "json" }).notNull().$type<BattleSide>(),
    right: text("right", { mode: "json" }).notNull().$type<BattleSide>(),
  },
  (table) => [primaryKey({ columns: [table.battleId, table.number] })],
);

export const votes = sqliteTable(
  "votes",
  {
    battleId: text("battle_id")
      .primaryKey()
      .references(() => battles.id),
    winner: text("winner").notNull(),
    judge: text("judge").notNull(),
    votedAt: integer("voted_at", { mode: "timestamp_ms" }).notNull(),
    details: text("details", { mode: "json" }).$type<unknown>(),
  },
  (table) => [check("votes_winner", sql`${table.winner} in ('left', 'right', 'tie', 'bothBad')`)],
);

/** A judge's own words stay where they are. */
export const places = sql<unknown>`${votes.details} -> 'places'`.mapWith(JSON.parse);
