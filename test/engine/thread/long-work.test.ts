import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { LongWork, type LongWorkOptions } from "../../../src/engine/thread/long-work.js";
import { ToastError } from "../../../src/errors.js";

/**
 * A thread that answers a text with its length, but for some: `for ever` is never done, `memory` takes all there is,
 * `exit` ends the thread, `not loaded` never begins.
 */
const entry = `
  import { parentPort, threadId } from "node:worker_threads";
  parentPort.on("message", ({ text }) => {
    if (text === "not loaded") for (;;);
    parentPort.postMessage({ kind: "begun" });
    if (text === "for ever") for (;;);
    if (text === "exit") process.exit(3);
    if (text === "memory") for (const all = []; ; ) all.push(Array.from({ length: 1_000 }, (_, at) => ({ at })));
    if (text === "bad") {
      const error = { code: "invalid_request", message: "It is bad.", param: null, field: null };
      parentPort.postMessage({ kind: "failed", error });
    } else parentPort.postMessage({ kind: "done", answer: Int32Array.of(text.length, threadId) });
  });
`;

let folder: string;
let workerUrl: URL;
const open: LongWork[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "toast-long-work-"));
  await writeFile(join(folder, "worker.mjs"), entry);
  workerUrl = pathToFileURL(join(folder, "worker.mjs"));
});
afterEach(() => Promise.all(open.splice(0).map((work) => work.close())));
afterAll(() => rm(folder, { recursive: true, force: true }));

function longWork(options: Partial<LongWorkOptions> = {}): LongWork {
  const work = new LongWork({ tokenizerFile: "none", workerUrl, ...options });
  open.push(work);
  return work;
}
const ask = (work: LongWork, text: string, caller = "one", signal = new AbortController().signal) =>
  work.do({ kind: "tokenize", text, addSpecialTokens: false }, { caller, requestId: text, signal });
const lengthOf = async (answer: Promise<Int32Array>) => (await answer)[0];

it("answers and refuses as the task does, in one thread", async () => {
  const work = longWork();
  const [first, second] = [await ask(work, "four"), await ask(work, "fives")];
  expect([first[0], second[0]]).toEqual([4, 5]);
  expect(second[1]).toBe(first[1]);
  await expect(ask(work, "bad")).rejects.toMatchObject({ code: "invalid_request", message: "It is bad." });
  expect(await lengthOf(ask(work, "after"))).toBe(5);
});

it.each([
  ["for ever", { deadlineMs: 300 }, "could not be tokenized within 0.3 seconds"],
  ["memory", { memoryMb: 32 }, "could not be tokenized within 32 MB of memory"],
] as const)("refuses what takes %s, and does the next", async (text, limits, words) => {
  const work = longWork(limits);
  const [hard, next] = [ask(work, text), ask(work, "next", "two")];
  await expect(hard).rejects.toMatchObject({ code: "invalid_request", field: "prompt" });
  await expect(hard).rejects.toThrow(words);
  expect(await lengthOf(next)).toBe(4);
});

it("holds nothing against a task whose thread does not come to begin: it may come again", async () => {
  const work = longWork({ deadlineMs: 1, loadMs: 300 });
  await expect(ask(work, "not loaded")).rejects.toMatchObject({ code: "server_overloaded" });
});

it("fails alone what ends the thread, and does the next in another one", async () => {
  const work = longWork();
  const [before, ending, next] = [await ask(work, "before"), ask(work, "exit"), ask(work, "next")];
  await expect(ending).rejects.toMatchObject({ code: "engine_failed" });
  expect((await next)[1]).not.toBe(before[1]);
});

it("gives up what is not wanted any more, where it waits and where it runs, with the reason", async () => {
  const work = longWork();
  const reasons = ["first", "second"].map((word) => new ToastError("request_timeout", word));
  const [running, waiting] = [new AbortController(), new AbortController()];
  const endless = ask(work, "for ever", "one", running.signal);
  const unwanted = ask(work, "for ever", "one", waiting.signal);
  const next = ask(work, "next", "one");
  waiting.abort(reasons[1]);
  await expect(unwanted).rejects.toBe(reasons[1]);
  running.abort(reasons[0]);
  await expect(endless).rejects.toBe(reasons[0]);
  expect(await lengthOf(next)).toBe(4);
  await expect(ask(work, "late", "one", running.signal)).rejects.toBe(reasons[0]);
});

it("takes turns between callers, and a queue that one has filled still takes another", async () => {
  const work = longWork();
  const order: string[] = [];
  const asked = (text: string, caller: string) => ask(work, text, caller).then(() => order.push(caller));
  const all = Array.from({ length: 65 }, () => asked("mine", "greedy"));
  await expect(ask(work, "mine", "greedy")).rejects.toMatchObject({ code: "server_overloaded" });
  all.push(asked("his", "modest"));
  await Promise.all(all);
  expect(order.indexOf("modest")).toBeLessThan(3);
});

it("lets a thread go that nobody needs, and starts another for the next", async () => {
  const work = longWork({ idleMs: 1 });
  const [, first] = await ask(work, "one");
  await expect
    .poll(async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return (await ask(work, "two"))[1];
    })
    .not.toBe(first);
});

it("tells those who wait that the server ends", async () => {
  const work = longWork();
  const asked = [ask(work, "for ever"), ask(work, "next")];
  const refusals = Promise.allSettled(asked);
  await work.close();
  for (const one of await refusals)
    expect(one).toMatchObject({ status: "rejected", reason: { code: "server_draining" } });
});
