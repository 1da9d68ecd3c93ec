import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import Sqlite from "libsql";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type BattleRecord, toWire } from "../../../src/arena/battle-record.js";
import { type BattleStore, recordsOf } from "../../../src/arena/store/battle-store.js";
import { openStore } from "../../../src/arena/store/open-store.js";
import { networkFileSystem } from "../../../src/arena/store/sqlite-store.js";
import { openThreadStore } from "../../../src/arena/thread/arena-thread.js";
import { battle, humanVote, record, side } from "./battle.js";
import { findPostgres, startPostgres, type TestPostgres } from "./start-postgres.js";

const bin = findPostgres();
const { TOAST_REQUIRE_POSTGRES: required } = process.env;
if (bin === null) {
  process.stderr.write(
    "\n!! No Postgres server is installed: the arena's store is tested on SQLite only. apt-get install postgresql\n\n",
  );
}

/** Threads run compiled code. */
const arenaUrl = new URL("../../../dist/arena/thread/arena-worker.js", import.meta.url);

let scratch: string;
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-store-"));
});
afterEach(async () => {
  await rm(scratch, { recursive: true, force: true });
});

describe.each([
  { kind: "SQLite", skip: false },
  { kind: "a Postgres server", skip: bin === null && required === undefined },
])("the store on $kind", ({ kind, skip }) => {
  let server: TestPostgres | null = null;
  let databases = 0;
  let databaseUrl: string | null = null;

  beforeAll(async () => {
    if (kind !== "SQLite" && !skip) {
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

  const withStores = async (use: (one: BattleStore, other: BattleStore) => Promise<void>) => {
    const stores = await Promise.all([0, 1].map(() => openThreadStore({ dataDir: scratch, databaseUrl }, arenaUrl)));
    try {
      await use(...(stores as [BattleStore, BattleStore]));
    } finally {
      await Promise.all(stores.map((store) => store.close()));
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
      for await (const { id } of recordsOf(store, {})) ids.push(id);
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

  it.skipIf(skip)("keeps further turns with their battle, each number once, and none after the vote", () =>
    withStore(async (store) => {
      const turn = (prompt: string) => ({
        createdAt: new Date("2026-01-31T12:00:30Z"),
        prompt,
        left: side("a", `${prompt} left`),
        right: side("b", `${prompt} right!`),
      });
      await store.addBattle(battle("b_1"), "00");
      await store.addBattle(battle("b_2"), "00");
      const twice = await Promise.allSettled([
        store.addTurn("b_1", 2, turn("two")),
        store.addTurn("b_1", 2, turn("two")),
      ]);
      expect(twice.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
      expect(twice.find((one) => one.status === "rejected")?.reason).toMatchObject({ code: "battle_changed" });
      await store.addTurn("b_1", 3, turn("three"));
      await store.addVote("b_1", humanVote);
      await store.addVote("b_2", humanVote);
      await expect(store.addTurn("b_1", 4, turn("four"))).rejects.toMatchObject({ code: "already_voted" });
      const found = await store.find("b_1");
      expect(found?.record.turns).toEqual([turn("two"), turn("three")]);
      // One vote, and the length of all that was said.
      expect(
        (await store.matches({})).map(({ leftCharacters, rightCharacters }) => [leftCharacters, rightCharacters]),
      ).toEqual([
        [7 + 8 + 10, 7 + 10 + 12],
        [7, 7],
      ]);
      const records = await recordsIn(store);
      expect(records.map(({ turns }) => turns.length)).toEqual([2, 0]);
      // What is exported comes in again, whole, and once.
      const copies = records.map((one) => ({ ...one, id: `copy_${one.id}` }));
      expect(await store.importRecords(copies)).toEqual({ imported: 2, known: 0 });
      expect(await store.importRecords(copies)).toEqual({ imported: 0, known: 2 });
      expect((await store.find("copy_b_1"))?.record).toEqual(copies[0]);
    }),
  );

  it.skipIf(skip)("is shared by two that are open at once, and takes each id and each vote once from both", () =>
    // Each waits for the other's lock in a thread of its own, as two servers do.
    withStores(async (one, other) => {
      const records = Array.from({ length: 60 }, (_, at) => record(`b_${at}`, { vote: null }));
      const counts = await Promise.all([one, other, one, other].map((store) => store.importRecords(records)));
      expect(counts.map(({ imported }) => imported).reduce((sum, count) => sum + count)).toBe(60);
      const results = await Promise.allSettled(
        records.flatMap(({ id }) => [one.addVote(id, humanVote), other.addVote(id, humanVote)]),
      );
      expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(60);
      for (const result of results) {
        if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "already_voted" });
      }
      await one.addBattle(battle("b_late"), "00");
      expect((await other.find("b_late"))?.ballotHash).toBe("00");
      expect(await other.matches({})).toHaveLength(60);
    }),
  );

  it.skipIf(skip)("takes a vote beside an import as one of its own, and nothing of an import that fails", () =>
    withStore(async (store) => {
      await store.addBattle(battle("b_1"), "00");
      const records = Array.from({ length: 450 }, (_, at) => record(`b_${1000 + at}`));
      const wrong = { ...record("b_wrong"), source: "nowhere" as "import" };
      const [failed, voted] = await Promise.allSettled([
        store.importRecords([...records, wrong]),
        store.addVote("b_1", humanVote),
      ]);
      expect([failed.status, voted.status]).toEqual(["rejected", "fulfilled"]);
      expect(await store.matches({})).toHaveLength(1);
      expect(await store.importRecords(records)).toEqual({ imported: 450, known: 0 });
    }),
  );

  it.skipIf(skip)("says whether it can be written, and stores nothing by that", () =>
    withStore(async (store) => {
      await store.tryWrite();
      expect(await recordsIn(store)).toEqual([]);
      if (databaseUrl === null) return;
      const client = new pg.Client(databaseUrl);
      await client.connect();
      // Sessions that are open go on as they were: the store's is ended, and it opens another.
      await client.query(`alter database ${client.database} set default_transaction_read_only = on`);
      await client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()",
        [client.database],
      );
      await client.end();
      const refused = () => store.tryWrite().catch((error: Error) => error.message);
      await expect.poll(refused).toMatch(/^The arena's database \(DATABASE_URL\) cannot be written/);
      expect(await recordsIn(store)).toEqual([]);
    }),
  );

  it.skipIf(skip)("tells of a refused statement neither a prompt nor an answer", () =>
    withStore(async (store) => {
      const secret = { messages: [{ role: "user" as const, content: "PROMPT" }], left: side("a", "ANSWER") };
      await store.addBattle(battle("b_1", secret), "00");
      const again = await store.addBattle(battle("b_1", secret), "00").catch((error: unknown) => error);
      const wrong = await store
        .importRecords([record("b_2", { ...secret, source: "nowhere" as "import" })])
        .catch((error: unknown) => error);
      for (const error of [again, wrong]) {
        expect(error).toBeInstanceOf(Error);
        expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(/PROMPT|ANSWER/);
      }
      expect(await recordsIn(store)).toHaveLength(1);
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
  const folder = () => join(scratch, "arena");

  it("keeps battles and votes from being changed or taken away, whoever asks its database", async () => {
    const store = await open();
    await store.importRecords([record("b_1")]);
    await store.close();
    const database = new Sqlite(join(folder(), "battles.sqlite"));
    for (const statement of ["UPDATE battles SET seed = 1", "DELETE FROM votes", "UPDATE votes SET winner = 'tie'"]) {
      expect(() => database.exec(statement)).toThrow("append-only");
    }
    expect(() => database.exec("DELETE FROM battles")).toThrow("append-only");
    database.close();
  });

  it("is opened by several at the same time, the first time too", async () => {
    const stores = await Promise.all(Array.from({ length: 4 }, open));
    await Promise.all(stores.map((store, at) => store.addBattle(battle(`b_${at}`), null)));
    for (const store of stores) expect(await recordsIn(store)).toHaveLength(4);
    await Promise.all(stores.map((store) => store.close()));
  });

  it("waits for another process that writes, then says that it is locked", async () => {
    const store = await open();
    const database = new Sqlite(join(folder(), "battles.sqlite"));
    database.exec("BEGIN IMMEDIATE");
    await expect(store.addBattle(battle("b_1"), null)).rejects.toMatchObject({
      code: "store_failed",
      message: expect.stringMatching(/^The arena's data folder \(in --data-dir\) is being written by another process/),
    });
    database.exec("COMMIT");
    database.close();
    await store.addBattle(battle("b_1"), null);
    await store.close();
  });

  it("says that its database is damaged, and leaves it as it is", async () => {
    await mkdir(folder());
    await writeFile(join(folder(), "battles.sqlite"), "not a database, whatever it is ".repeat(200));
    await expect(open()).rejects.toMatchObject({ code: "store_failed", message: expect.stringContaining("damaged") });
    expect(await readdir(folder())).toEqual(["battles.sqlite"]);
  });

  it("takes over an old folder's journal once, with what a full disk glued together", async () => {
    await mkdir(join(folder(), "postgres"), { recursive: true });
    const battleEntry = (id: string, ballotHash: string | null) =>
      JSON.stringify({ kind: "battle", record: toWire(record(id, { vote: null })), ballotHash });
    const voteEntry = (battleId: string) => JSON.stringify({ kind: "vote", battleId, vote: toWire(humanVote) });
    const journal = [
      battleEntry("b_1", "cd"),
      battleEntry("b_2", null),
      // Half an entry that was refused, with one behind it that was not.
      `${voteEntry("b_2").slice(0, 40)}${voteEntry("b_1")}`,
      battleEntry("b_3", "ef"),
      '{"kind":"vote","battle',
    ];
    await writeFile(join(folder(), "journal.jsonl"), journal.join("\n"));
    for (let round = 0; round < 2; round++) {
      const store = await open();
      expect(await store.find("b_1")).toEqual({ record: record("b_1"), ballotHash: "cd" });
      expect((await store.find("b_2"))?.record.vote).toBeNull();
      expect(await recordsIn(store)).toHaveLength(3);
      await store.close();
    }
    expect((await readdir(folder())).filter((name) => name.startsWith("journal"))).toEqual(["journal-imported.jsonl"]);
  });

  it("names an old folder that it cannot take over: a line with no battle, or no journal at all", async () => {
    await mkdir(join(folder(), "postgres"), { recursive: true });
    await expect(open()).rejects.toMatchObject({
      code: "store_failed",
      message: expect.stringContaining("without the journal.jsonl"),
    });
    await writeFile(join(folder(), "journal.jsonl"), '\n{"kind":"battle","record":{"id":"b_1"},"ballotHash":null}\n');
    await expect(open()).rejects.toMatchObject({ code: "store_failed", message: expect.stringContaining("Line 2 of") });
  });
});

describe("networkFileSystem", () => {
  it("knows those of machines that share a folder, and takes all others for disks", () => {
    expect([0x6969, 0xff534d42, 0xfe534d42 | 0].map(networkFileSystem)).toEqual(["NFS", "SMB", "SMB"]);
    // ext4, tmpfs, overlayfs, btrfs.
    expect([0xef53, 0x01021994, 0x794c7630, 0x9123683e].map(networkFileSystem)).toEqual([null, null, null, null]);
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
    const error = await failure.catch((thrown: unknown) => thrown);
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain("secret");
  });
});

async function recordsIn(store: BattleStore) {
  const records: BattleRecord[] = [];
  for await (const one of recordsOf(store, {})) records.push(one);
  return records;
}

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
