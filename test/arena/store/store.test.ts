import { spawn } from "node:child_process";
import { appendFile, cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { BattleStore } from "../../../src/arena/store/battle-store.js";
import { openStore } from "../../../src/arena/store/open-store.js";
import { battle, humanVote, record, side } from "./battle.js";
import { findPostgres, startPostgres, type TestPostgres } from "./start-postgres.js";

const bin = findPostgres();
const { TOAST_REQUIRE_POSTGRES: required } = process.env;
if (bin === null) {
  process.stderr.write(
    "\n!! No Postgres server is installed: the arena's store is tested on PGlite only. apt-get install postgresql\n\n",
  );
}

let scratch: string;
/** An empty store: making Postgres's own tables takes seconds, copying them does not. */
let template: string;
beforeAll(async () => {
  template = await mkdtemp(join(tmpdir(), "toast-store-"));
  await (await openStore({ dataDir: template, databaseUrl: null })).close();
});
afterAll(() => rm(template, { recursive: true, force: true }));
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-store-"));
  await cp(template, scratch, { recursive: true });
});
afterEach(async () => {
  await rm(scratch, { recursive: true, force: true });
});

describe.each([
  { kind: "PGlite", skip: false },
  { kind: "a Postgres server", skip: bin === null && required === undefined },
])("the store on $kind", ({ kind, skip }) => {
  let server: TestPostgres | null = null;
  let databases = 0;
  let databaseUrl: string | null = null;

  beforeAll(async () => {
    if (kind !== "PGlite" && !skip) {
      if (bin === null) throw new Error("TOAST_REQUIRE_POSTGRES is set and no Postgres server is installed.");
      server = await startPostgres(bin);
    }
  });
  afterAll(() => server?.stop());
  beforeEach(async () => {
    if (server === null) return;
    const client = new pg.Client(server.url);
    await client.connect();
    const name = `test_${databases++}`;
    await client.query(`create database ${name}`);
    await client.end();
    databaseUrl = server.url.replace(/postgres$/, name);
  });

  const open = () => openStore({ dataDir: scratch, databaseUrl });
  const withStore = async (use: (store: BattleStore) => Promise<void>) => {
    const store = await open();
    try {
      await use(store);
    } finally {
      await store.close();
    }
  };

  it.skipIf(skip)("gives back what was put in, also after it was closed and opened again", async () => {
    const odd = battle("b_1", {
      category: "writing",
      left: side("a", "line\nbreaks, a 🍞 and 'quotes' \"of\" both kinds \\"),
    });
    await withStore(async (store) => {
      await store.addBattle(odd, "ab".repeat(32));
      await store.addVote("b_1", humanVote);
    });
    await withStore(async (store) => {
      const found = await store.find("b_1");
      expect(found).toEqual({ record: { ...odd, vote: humanVote }, ballotHash: "ab".repeat(32) });
      expect(await store.find("b_2")).toBeNull();
      expect(await store.categories()).toEqual(["writing"]);
    });
  });

  it.skipIf(skip)("takes one vote for a battle, however many come at once", () =>
    withStore(async (store) => {
      await store.addBattle(battle("b_1"), "00");
      const results = await Promise.allSettled(
        (["left", "right", "tie", "bothBad"] as const).map((winner) => store.addVote("b_1", { ...humanVote, winner })),
      );
      expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      for (const result of results) {
        if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "already_voted" });
      }
      expect(await store.matches({})).toHaveLength(1);
      await expect(store.addVote("b_9", humanVote)).rejects.toThrow();
    }),
  );

  it.skipIf(skip)("imports each id once, and adds a vote that was missing", () =>
    withStore(async (store) => {
      const records = Array.from({ length: 450 }, (_, at) =>
        record(`b_${String(at).padStart(3, "0")}`, at === 0 ? { vote: null } : {}),
      );
      expect(await store.importRecords(records)).toEqual({ imported: 450, known: 0 });
      expect(await store.importRecords(records)).toEqual({ imported: 0, known: 450 });
      expect(await store.matches({})).toHaveLength(449);
      expect(await store.importRecords([record("b_000")])).toEqual({ imported: 0, known: 1 });
      expect(await store.matches({})).toHaveLength(450);
      const ids: string[] = [];
      for await (const { id } of store.records({})) ids.push(id);
      expect(ids).toEqual(records.map(({ id }) => id));
    }),
  );

  it.skipIf(skip)("finds votes by category, source and judge, with what a judge said of the places", () =>
    withStore(async (store) => {
      await store.importRecords([
        record("b_1", {
          category: "math",
          source: "batch",
          vote: { ...humanVote, judge: "gpt", winner: "tie", details: { places: ["left", "left"], more: { a: 1 } } },
        }),
        record("b_2", { category: "math" }),
        record("b_3", { left: side("a", null), right: side("b", null) }),
        record("b_4", { vote: null, category: "unvoted" }),
      ]);
      expect(await store.matches({ category: "math" })).toHaveLength(2);
      expect(await store.matches({ judge: "gpt" })).toEqual([
        { left: "a", right: "b", leftCharacters: 7, rightCharacters: 7, winner: "tie", places: ["left", "left"] },
      ]);
      expect(await store.matches({ source: "batch", judge: "human" })).toEqual([]);
      expect((await store.matches({})).at(-1)).toMatchObject({ leftCharacters: null });
      expect(await store.categories()).toEqual(["math"]);
    }),
  );

  it.skipIf(skip)(
    "has every acknowledged vote when its process is killed in the middle of 200",
    async () => {
      const acknowledged = await killedWhileVoting(scratch, databaseUrl);
      expect(acknowledged.length).toBeGreaterThan(20);
      await withStore(async (store) => {
        const lost: string[] = [];
        for (const id of acknowledged) if ((await store.find(id))?.record.vote?.winner !== "left") lost.push(id);
        expect(lost).toEqual([]);
        // And it goes on: those that are left can still be voted on, once.
        const open = Array.from({ length: 200 }, (_, at) => `b_${at}`);
        const results = await Promise.allSettled(open.map((id) => store.addVote(id, humanVote)));
        const taken = results.filter(({ status }) => status === "fulfilled").length;
        expect(taken).toBeLessThanOrEqual(200 - acknowledged.length);
        expect(await store.matches({})).toHaveLength(200);
      });
    },
    120_000,
  );
});

describe("the embedded store", () => {
  const open = () => openStore({ dataDir: scratch, databaseUrl: null });

  it("is rebuilt from its journal when the database is lost or damaged, broken last line and all", async () => {
    const store = await open();
    await store.addBattle(battle("b_1"), "cd");
    await store.addBattle(battle("b_2"), null);
    await store.addVote("b_1", humanVote);
    await store.importRecords([record("b_3")]);
    await store.close();
    const folder = join(scratch, "arena");
    await writeFile(join(folder, "postgres", "global", "pg_control"), "not this");
    await appendFile(join(folder, "journal.jsonl"), '{"kind":"vote","battle');
    const again = await open();
    expect(await again.find("b_1")).toEqual({ record: record("b_1"), ballotHash: "cd" });
    expect((await again.find("b_2"))?.record.vote).toBeNull();
    expect(await again.matches({})).toHaveLength(2);
    await again.addVote("b_2", humanVote);
    await again.close();
    expect((await readdir(folder)).some((name) => name.startsWith("postgres-damaged-"))).toBe(true);
    expect((await readFile(join(folder, "journal.jsonl"), "utf8")).trimEnd().split("\n")).toHaveLength(5);
  });

  it("refuses a journal that is damaged in the middle, and says where", async () => {
    const store = await open();
    await store.addBattle(battle("b_1"), null);
    await store.close();
    const path = join(scratch, "arena", "journal.jsonl");
    await writeFile(path, `garbage\n${await readFile(path, "utf8")}`);
    await expect(open()).rejects.toMatchObject({ code: "store_failed", message: expect.stringContaining("Line 1 of") });
  });

  it("lets one process in at a time", async () => {
    const store = await open();
    await expect(open()).rejects.toMatchObject({ code: "store_failed", message: expect.stringContaining("in use") });
    await store.close();
    await (await open()).close();
  });
});

describe("a database that cannot be reached", () => {
  it("is named in a sentence that does not show its password", async () => {
    const url = "postgres://toast:secret@127.0.0.1:1/none";
    const failure = openStore({ dataDir: scratch, databaseUrl: url });
    await expect(failure).rejects.toMatchObject({
      code: "store_failed",
      message: expect.stringContaining("DATABASE_URL"),
    });
    await expect(failure).rejects.not.toThrow("secret");
  });
});

/** @returns the ids whose votes were acknowledged before the process was killed, about a third of all. */
function killedWhileVoting(dataDir: string, databaseUrl: string | null): Promise<string[]> {
  const script = fileURLToPath(new URL("./voting-process.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, dataDir, ...(databaseUrl === null ? [] : [databaseUrl])], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  return new Promise((resolve, reject) => {
    let said = "";
    let failed = "";
    const acknowledged = () =>
      said
        .split("\n")
        .slice(0, -1)
        .filter((line) => line.startsWith("b_"));
    child.stderr.on("data", (bytes: Buffer) => {
      failed += bytes.toString();
    });
    child.stdout.on("data", (bytes: Buffer) => {
      said += bytes.toString();
      if (acknowledged().length >= 60) child.kill("SIGKILL");
    });
    child.on("close", (code, signal) =>
      signal === "SIGKILL" ? resolve(acknowledged()) : reject(new Error(`It ended with ${code}: ${failed}`)),
    );
  });
}
