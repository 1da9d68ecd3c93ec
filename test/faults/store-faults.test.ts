import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, chownSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { toWire } from "../../src/arena/battle-record.js";
import { record, side } from "../arena/store/battle.js";
import { findPostgres, startPostgres, type TestPostgres } from "../arena/store/start-postgres.js";
import { convertTestModel } from "../contract/open-test-model.js";
import { ask, battle, type Frame, generates, stored, vote } from "./arena-client.js";
import { canMount } from "./can-mount.js";
import { main, type ServerOptions, type ServerProcess, startServer } from "./server-process.js";

/** Of nothing else that is said here; no line of a log may hold it. */
const secret = "PROMPT-THAT-IS-NOBODYS-BUSINESS";
const { TOAST_FAULT_ROUNDS, TOAST_REQUIRE_POSTGRES: required } = process.env;
/** How often a server is killed: few times in the ordinary suite, as often as is said for a night. */
const roundsOf = (few: number) => Number(TOAST_FAULT_ROUNDS ?? few);
const isRoot = process.getuid?.() === 0;
const bin = findPostgres();
const withPostgres = bin !== null || required !== undefined;

let model: Awaited<ReturnType<typeof convertTestModel>>;
beforeAll(async () => {
  model = await convertTestModel();
  // Servers that run as somebody else read it too.
  for (const folder of [join(model.folder, ".."), model.folder]) chmodSync(folder, 0o755);
});
afterAll(() => model.remove());

let scratch: string;
let dataDir: string;
let servers: ServerProcess[];
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-faults-"));
  await chmod(scratch, 0o755);
  dataDir = join(scratch, "data");
  await mkdir(dataDir);
  servers = [];
});
afterEach(async () => {
  await Promise.all(servers.map((server) => server.end()));
  await rm(scratch, { recursive: true, force: true });
  for (const server of servers) expect(server.log()).not.toContain(secret);
});

const start = async (options: Partial<ServerOptions> = {}) => {
  const server = await startServer({ model: model.folder, dataDir, ...options });
  servers.push(server);
  return server;
};

/** A refusal that tells the truth: 503, when to try again, no path, no word of what was sent. */
const refusal = (sentence: RegExp) => ({
  status: 503,
  retryAfter: "30",
  text: expect.toSatisfy(
    (text: string) =>
      sentence.test(text) && text.includes("store_failed") && !text.includes(scratch) && !text.includes(secret),
    `a refusal like ${sentence}`,
  ) as string,
});

describe("a server killed while people vote", () => {
  const kinds = [
    { kind: "SQLite", skip: false, rounds: roundsOf(5) },
    { kind: "Postgres", skip: !withPostgres, rounds: roundsOf(2) },
  ];
  it.each(kinds.filter(({ skip }) => !skip))(
    "has every acknowledged battle and vote, as it was, on $kind, $rounds rounds long",
    async ({ kind, rounds }) => {
      const postgres = kind === "Postgres" ? await openPostgres() : null;
      try {
        const cast = new Map<string, string>();
        const shown = new Set<string>();
        for (let round = 0; round < rounds; round++) {
          const server = await start(postgres === null ? {} : { databaseUrl: postgres.url });
          for (const one of await stored(server.url)) {
            const winner = cast.get(one.id);
            if (winner !== undefined) expect(one.vote?.winner).toBe(winner);
          }
          expect(new Set((await stored(server.url)).map(({ id }) => id))).toEqual(
            expect.toSatisfy(
              (ids: Set<string>) => [...shown].every((id) => ids.has(id)),
              "every battle that was shown",
            ),
          );
          await voteUntilKilled(server, 6 + round, shown, cast);
        }
        const last = await start(postgres === null ? {} : { databaseUrl: postgres.url });
        const ids = (await stored(last.url)).map(({ id }) => id);
        expect(new Set(ids).size).toBe(ids.length);
        const votes = new Map((await stored(last.url)).map((one) => [one.id, one.vote?.winner]));
        expect([...cast].filter(([id, winner]) => votes.get(id) !== winner)).toEqual([]);
        expect([...shown].filter((id) => !votes.has(id))).toEqual([]);
        expect(cast.size).toBeGreaterThanOrEqual(6 * rounds);
      } finally {
        await Promise.all(servers.map((server) => server.end()));
        await postgres?.stop();
      }
    },
    60_000 + roundsOf(5) * 60_000,
  );
});

/** Four people, each battle after battle; the server is killed in the middle of what they do. */
async function voteUntilKilled(server: ServerProcess, votes: number, shown: Set<string>, cast: Map<string, string>) {
  let acknowledged = 0;
  let killed = false;
  const person = async () => {
    for (let at = 0; !killed; at++) {
      const winner = (["left", "right", "tie", "bothBad"] as const)[at % 4] ?? "tie";
      try {
        const last = await battle(server.url, secret);
        if (last.kind !== "complete" || last.id === undefined) continue;
        shown.add(last.id);
        const { status } = await vote(server.url, last, winner);
        if (status !== 200) continue;
        cast.set(last.id, winner);
        acknowledged++;
        if (acknowledged >= votes && !killed) {
          killed = true;
          await server.end("SIGKILL");
        }
      } catch {
        // The server went away under the request: nothing was acknowledged.
        if (!killed) await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  await Promise.all([person(), person(), person(), person()]);
}

describe("a disk that is full", () => {
  /** 60 KB of text each, so that a small disk is full soon. */
  const big = (number: number) =>
    JSON.stringify(
      toWire(record(`b_${number}`, { left: side("a", `${secret} `.repeat(2_000)), vote: null, source: "import" })),
    );

  const full = /data folder \(in --data-dir\) (is on a full disk|.* may be full): nothing was stored/;

  /** Fills it, and asks for everything meanwhile; frees it, and asks again; starts anew, and looks for what was acknowledged. */
  const ordeal = async (options: Partial<ServerOptions>, free: (server: ServerProcess) => void) => {
    const server = await start(options);
    const before = await battle(server.url, secret);
    expect(before.kind).toBe("complete");
    const taken = [before.id ?? ""];
    let number = 0;
    for (; ; number++) {
      const answered = await ask(server.url, "/v1/arena/import", big(number));
      if (answered.status !== 200) {
        expect(answered).toEqual(refusal(full));
        break;
      }
      taken.push(`b_${number}`);
      expect(number).toBeLessThan(500);
    }
    // A vote is small, and may still find room; what it is told is true in any case.
    const smallVote = await vote(server.url, before, "left");
    if (smallVote.status !== 200) expect(smallVote).toEqual(refusal(full));
    for (let at = 0; at < 20; at++) {
      const answered = await ask(server.url, "/v1/arena/import", big(number + 1));
      expect(answered).toEqual(refusal(full));
    }
    expect(await generates(server.url)).toBe(true);
    expect((await stored(server.url)).map(({ id }) => id).toSorted()).toEqual(taken.toSorted());
    expect((await ask(server.url, "/v1/arena/leaderboard")).status).toBe(200);

    free(server);
    expect((await ask(server.url, "/v1/arena/import", big(number))).status).toBe(200);
    taken.push(`b_${number}`);
    const again = await vote(server.url, before, "left");
    expect(again.status).toBe(smallVote.status === 200 ? 409 : 200);
    const after = await battle(server.url, secret);
    expect((await vote(server.url, after, "right")).status).toBe(200);
    taken.push(after.id ?? "");
    await server.end();

    const next = await start({ ...options, fileBytes: undefined });
    const found = await stored(next.url);
    expect(found.map(({ id }) => id).toSorted()).toEqual(taken.toSorted());
    expect(found.filter(({ vote: cast }) => cast !== null)).toHaveLength(2);
    expect(server.log()).toContain("store_failed");
  };

  it("refuses what it cannot keep, and nothing else, where files may not grow", () =>
    ordeal({ fileBytes: 512 * 1024 }, ({ pid }) => {
      execFileSync("prlimit", ["--pid", String(pid), "--fsize=unlimited:"]);
    }));

  const mountable = canMount();
  if (!mountable) say("No file system may be mounted here: a full disk is tested by a limit on files only.");
  it.skipIf(!mountable)(
    "refuses what it cannot keep, and nothing else, where the file system has no room",
    async () => {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", dataDir]);
      try {
        await ordeal({}, () => execFileSync("mount", ["-o", "remount,size=64m", dataDir]));
      } finally {
        await Promise.all(servers.map((server) => server.end()));
        execFileSync("umount", [dataDir]);
      }
    },
  );
});

describe("a data folder that cannot be written", () => {
  // Rights do not bind root. Where Node or this checkout lies in a folder of root's own, nobody else can run them.
  const user = isRoot ? unprivilegedUser() : undefined;
  const runs = user === undefined || spawnSync(process.execPath, [main, "--version"], user).status === 0;
  if (!runs) say("Nobody but root can run this checkout with this Node: data folders without rights are not tested.");
  const own = () => {
    if (user !== undefined) chownSync(dataDir, user.uid, user.gid);
  };
  const sentence = /data folder \(in --data-dir\) cannot be written: nothing was stored/;

  it.skipIf(!runs)(
    "keeps no model from being served; the arena says why it is not there, and is as soon as it can",
    async () => {
      chmodSync(dataDir, 0o555);
      const server = await start({ user });
      expect(await generates(server.url)).toBe(true);
      await expect.poll(() => server.log()).toContain("The arena is not available: The arena's data folder");
      const refused = await ask(server.url, "/v1/arena/battles", { prompt: secret });
      expect(refused).toEqual(refusal(sentence));
      expect(await ask(server.url, "/v1/arena/leaderboard")).toEqual(refusal(sentence));
      own();
      chmodSync(dataDir, 0o755);
      expect((await battle(server.url, secret)).kind).toBe("complete");
      expect((await ask(server.url, "/v1/arena/leaderboard")).status).toBe(200);
    },
  );

  it.skipIf(!runs)("with battles in it takes no more, and keeps those that it has", async () => {
    own();
    const first = await start({ user });
    const kept = await battle(first.url, secret);
    await first.end("SIGTERM");
    const folder = join(dataDir, "arena");
    execFileSync("chmod", ["-R", "a-w", folder]);
    const second = await start({ user });
    await expect.poll(() => second.log()).toContain("The arena is not available: The arena's data folder");
    expect(await ask(second.url, "/v1/arena/battles", { prompt: secret })).toEqual(refusal(sentence));
    expect(await generates(second.url)).toBe(true);
    execFileSync("chmod", ["-R", "u+w", folder]);
    expect((await vote(second.url, kept, "left")).status).toBe(200);
    expect(await stored(second.url)).toEqual([expect.objectContaining({ id: kept.id })]);
  });
});

describe("two servers on one folder", () => {
  it("take battles and votes side by side, each once, and show each other's", async () => {
    const pair = await Promise.all([start(), start()]);
    const shown = await Promise.all(
      Array.from({ length: 12 }, async (_, at): Promise<[ServerProcess, Frame]> => {
        const server = pair[at % 2] as ServerProcess;
        return [server, await battle(server.url, secret)];
      }),
    );
    expect(shown.map(([, { kind }]) => kind)).toEqual(Array.from({ length: 12 }, () => "complete"));
    // Each vote is sent to both at once.
    const votes = await Promise.all(
      shown.flatMap(([, frame]) => pair.map((server) => vote(server.url, frame, "left"))),
    );
    expect(votes.filter(({ status }) => status === 200)).toHaveLength(12);
    expect(votes.filter(({ status }) => status === 409)).toHaveLength(12);
    const [one, other] = await Promise.all(pair.map(({ url }) => stored(url)));
    expect(one?.map(({ id }) => id).toSorted()).toEqual(shown.map(([, { id }]) => id).toSorted());
    expect(other).toEqual(one);
    await pair[0].end();
    expect(await battle(pair[1].url, secret)).toMatchObject({ kind: "complete" });
  });
});

describe("a Postgres server that goes away", () => {
  if (!withPostgres) say("No Postgres server is installed: its going away is not tested. apt-get install postgresql");
  it.skipIf(!withPostgres)("keeps no model from answering; battles are refused until it is back", async () => {
    const postgres = await openPostgres();
    try {
      const server = await start({ databaseUrl: postgres.url });
      const before = await battle(server.url, secret);
      expect(before.kind).toBe("complete");
      await postgres.halt();
      const sentence = /database \(DATABASE_URL\) cannot be reached: nothing was stored/;
      expect(await vote(server.url, before, "left")).toEqual(refusal(sentence));
      expect(await ask(server.url, "/v1/arena/battles")).toEqual(refusal(sentence));
      expect(await ask(server.url, "/v1/arena/leaderboard")).toEqual(refusal(sentence));
      expect(await battle(server.url, secret)).toMatchObject({ error: { code: "store_failed" } });
      expect(await generates(server.url)).toBe(true);
      // One that starts meanwhile serves its model as well.
      const late = await start({ databaseUrl: postgres.url });
      expect(late.log()).toContain("The arena is not available: The arena's database (DATABASE_URL)");
      await postgres.resume();
      expect((await vote(server.url, before, "left")).status).toBe(200);
      expect((await stored(late.url)).map(({ id }) => id)).toEqual([before.id]);
      expect((await battle(late.url, secret)).kind).toBe("complete");
    } finally {
      await Promise.all(servers.map((server) => server.end()));
      await postgres.stop();
    }
  });
});

function openPostgres(): Promise<TestPostgres> {
  if (bin === null) throw new Error("TOAST_REQUIRE_POSTGRES is set and no Postgres server is installed.");
  return startPostgres(bin);
}

function unprivilegedUser() {
  const idOf = (flag: string) => Number(execFileSync("id", [flag, "nobody"]).toString());
  return { uid: idOf("-u"), gid: idOf("-g") };
}

function say(sentence: string): void {
  process.stderr.write(`\n!! ${sentence}\n\n`);
}
