import { setImmediate } from "node:timers/promises";
import { expect, it } from "vitest";
import { SharedTurns } from "../../src/server/shared-turns.js";

it("lets a few of many go on in a turn, one after the other, as often as each other", async () => {
  const turns = new SharedTurns({ takers: 2 });
  const done: number[] = [];
  const work = async (who: number) => {
    for (let piece = 0; piece < 3; piece++) {
      await turns.next();
      done.push(who);
    }
  };
  const all = Promise.all([0, 1, 2, 3].map(work));
  await setImmediate();
  expect(done).toEqual([0, 1, 2, 3]);
  await all;
  expect(done).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
});

it("lets nobody go on in a turn of which enough was taken", async () => {
  const turns = new SharedTurns({ takers: 2, most: 10 });
  await turns.next();
  turns.took(10);
  let isNext = false;
  const next = turns.next().then(() => {
    isNext = true;
  });
  await Promise.resolve();
  expect(isNext).toBe(false);
  await next;
});

it("lets turns pass for what goes first, but not for ever", async () => {
  const turns = new SharedTurns({ takers: 1 });
  let rounds = 0;
  let isOver = false;
  const first = async () => {
    for (; !isOver; rounds++) {
      turns.pass();
      await setImmediate();
    }
  };
  const passing = first();
  await turns.next();
  isOver = true;
  await passing;
  expect(rounds).toBeGreaterThan(100);
});
