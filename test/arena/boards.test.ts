import { beforeEach, describe, expect, it } from "vitest";
import { type ArenaBoard, Boards } from "../../src/arena/boards.js";
import { leaderboardOf } from "../../src/arena/ratings/leaderboard.js";

let now: number;
let computed: string[];
/** What each computation takes, by the clock. */
let work: number;
let boards: Boards;
beforeEach(() => {
  now = 0;
  computed = [];
  work = 10;
  boards = new Boards(
    async ({ category = "all" }) => {
      const number = computed.push(category);
      await Promise.resolve();
      if (category === "broken") throw new Error("away");
      now += work;
      return board(number);
    },
    () => now,
  );
});

function board(number: number): ArenaBoard {
  return { categories: [], leaderboard: leaderboardOf([]), computedAt: new Date(number), tookMs: work };
}

const look = async (category = "all") => (await boards.look({ category })).computedAt.getTime();

describe("boards", () => {
  it("are computed once for everybody who looks, by filter, and again after a minute", async () => {
    expect(await Promise.all([look(), look(), look("math")])).toEqual([1, 1, 2]);
    now = 59_000;
    expect(await look()).toBe(1);
    now = 60_001;
    expect(await look()).toBe(3);
    expect(computed).toEqual(["all", "math", "all"]);
  });

  it("are computed again by the first look after a vote; who looks meanwhile gets the last one", async () => {
    await look();
    now = 5_000;
    boards.outdate();
    now = 5_001;
    expect(await Promise.all([look(), look()])).toEqual([2, 1]);
    expect(await look()).toBe(2);
  });

  it("pause nine times as long as the last computation took, however many votes come", async () => {
    work = 1_000;
    await look();
    boards.outdate();
    now += 1;
    expect(await look()).toBe(1);
    now = 1_000 + 8_999;
    expect(await look()).toBe(1);
    now = 1_000 + 9_000;
    expect(await look()).toBe(2);
    // But no longer than a minute.
    work = 100_000;
    boards.outdate();
    now += 9_001;
    expect(await look()).toBe(3);
    boards.outdate();
    now += 59_999;
    expect(await look()).toBe(3);
    now += 1;
    expect(await look()).toBe(4);
    // A filter that was never looked at has no last board to be given.
    boards.outdate();
    expect(await look("math")).toBe(5);
  });

  it("count a vote that came while one was computed", async () => {
    work = 0;
    const first = look();
    boards.outdate();
    await first;
    now += 1;
    expect(await look()).toBe(2);
  });

  it("that fail are failures to whoever waits, and are tried again by the next", async () => {
    await expect(look("broken")).rejects.toThrow("away");
    await expect(look("broken")).rejects.toThrow("away");
    expect(computed).toHaveLength(2);
  });

  it("of more filters at once than 16 are refused, and of more than 50 forgotten", async () => {
    const many = await Promise.allSettled(Array.from({ length: 17 }, (_, at) => look(`c${at}`)));
    expect(many.map(({ status }) => status).filter((status) => status === "rejected")).toHaveLength(1);
    expect(many[16]).toMatchObject({ reason: { code: "server_overloaded" } });
    for (let at = 0; at < 51; at++) await look(`d${at}`);
    computed.length = 0;
    await look("d50");
    await look("d0");
    expect(computed).toEqual(["d0"]);
  });
});
