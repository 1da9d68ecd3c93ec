import { expect, it } from "vitest";
import { EngineWatch, silenceMs } from "../../src/engine/engine-watch.js";
import { ScriptedEngine } from "../server/scripted-engine.js";

it("an engine is silent when what it was asked has no answer for long, and no more when it has", async () => {
  let now = 1_000;
  const watch = new EngineWatch(() => now);
  const engine = new ScriptedEngine();
  let answer = () => {};
  const status = await engine.inspect();
  engine.inspect = () =>
    new Promise((resolve) => {
      answer = () => resolve(status);
    });
  expect(watch.silenceOf(engine)).toBeNull();
  now += silenceMs - 1;
  expect(watch.silenceOf(engine)).toBeNull();
  now += 1;
  expect(watch.silenceOf(engine)).toBe(silenceMs);
  answer();
  await expect.poll(() => watch.silenceOf(engine)).toBeNull();
});

it("an engine that nobody looked at for long is not silent", async () => {
  let now = 0;
  const watch = new EngineWatch(() => now);
  const engine = new ScriptedEngine();
  expect(watch.silenceOf(engine)).toBeNull();
  await new Promise((resolve) => setImmediate(resolve));
  now += 10 * silenceMs;
  expect(watch.silenceOf(engine)).toBeNull();
});
