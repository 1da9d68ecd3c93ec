import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Journal } from "../../src/arena/batch/journal.js";

let scratch: string;
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-journal-"));
});
afterEach(() => rm(scratch, { recursive: true, force: true }));

it("the journal of `ab` has whole lines only, those that were acknowledged, when its file may not grow", async () => {
  const path = join(scratch, "journal.jsonl");
  const module = new URL("../../dist/arena/batch/journal.js", import.meta.url).href;
  const script = `
    const { Journal } = await import(${JSON.stringify(module)});
    const journal = await Journal.open(${JSON.stringify(path)}, () => {});
    const taken = [];
    for (let number = 0; number < 60; number++) {
      // Short ones find room again where a long one did not.
      const text = "x".repeat(number % 3 === 0 ? 9_000 : 90);
      await journal.append({ number, text }).then(() => taken.push(number), () => {});
    }
    process.stdout.write(JSON.stringify(taken));
  `;
  const limited = 'ulimit -S -f 64; exec "$0" --input-type=module -e "$1"';
  const taken = JSON.parse(execFileSync("bash", ["-c", limited, process.execPath, script]).toString()) as number[];
  expect(taken.length).toBeLessThan(60);
  const found: number[] = [];
  const journal = await Journal.open(path, (entry) => found.push((entry as { number: number }).number));
  await journal.append({ number: 60 });
  await journal.close();
  expect(found).toEqual(taken);
  // A refusal came before the last that was taken, so half a line would be in the middle.
  expect(taken.length).toBeLessThan((taken.at(-1) ?? 0) + 1);
  await (await Journal.open(path, () => {})).close();
});
