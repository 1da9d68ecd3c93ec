import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PartialFile } from "../../src/hub/partial-file.js";
import { temporaryFolder } from "../convert/tiny-folder.js";

const content = Buffer.from("the bytes of a blob");
const claimOptions = { bytes: content.length, idleMs: 300 };

describe("an unfinished file", () => {
  it("belongs to one of many who want it, and the others get the blob", async () => {
    for (let round = 0; round < 20; round++) {
      const blob = join(temporaryFolder(), "blob");
      let writers = 0;
      const take = async () => {
        const partial = await PartialFile.claim(blob, claimOptions);
        if (partial === null) return;
        writers += 1;
        await partial.append(content);
        expect(await partial.finish()).toBe(true);
      };
      await Promise.all(Array.from({ length: 6 }, take));
      expect(writers).toBe(1);
      expect(readFileSync(blob).equals(content)).toBe(true);
      expect(readdirSync(join(blob, ".."))).toEqual(["blob"]);
    }
  });

  it("that is given back is taken by one, who goes on with it", async () => {
    const blob = join(temporaryFolder(), "blob");
    const first = await PartialFile.claim(blob, claimOptions);
    await first?.append(content.subarray(0, 5));
    await first?.release();
    expect(readdirSync(join(blob, ".."))).toEqual(["blob.incomplete"]);
    const stop = new AbortController();
    const [second, third] = [
      PartialFile.claim(blob, claimOptions),
      PartialFile.claim(blob, { ...claimOptions, signal: stop.signal }),
    ];
    const winner = await Promise.race([second, third]);
    expect(winner?.bytes).toBe(5);
    await winner?.append(content.subarray(5));
    await winner?.finish();
    expect((await Promise.all([second, third])).filter((partial) => partial === null)).toHaveLength(1);
    expect(readFileSync(blob).equals(content)).toBe(true);
  });

  it("is not taken from who is still there, even if nothing comes for a while", async () => {
    const blob = join(temporaryFolder(), "blob");
    const slow = await PartialFile.claim(blob, claimOptions);
    let isTaken = false;
    const waiting = PartialFile.claim(blob, claimOptions).then((partial) => {
      isTaken = partial !== null;
    });
    await new Promise((resolve) => setTimeout(resolve, 3 * claimOptions.idleMs));
    expect(isTaken).toBe(false);
    await slow?.append(content);
    expect(await slow?.finish()).toBe(true);
    await waiting;
    expect(isTaken).toBe(false);
  });

  it("that was taken for abandoned is not made the blob by its former owner", async () => {
    const blob = join(temporaryFolder(), "blob");
    const asleep = await PartialFile.claim(blob, { ...claimOptions, idleMs: 3_600_000 });
    await asleep?.append(content.subarray(0, 5));
    const awake = await PartialFile.claim(blob, claimOptions);
    expect(awake?.bytes).toBe(5);
    await asleep?.append(content.subarray(5));
    expect(await asleep?.finish()).toBe(false);
    await awake?.append(content.subarray(5));
    expect(await awake?.finish()).toBe(true);
    expect(readFileSync(blob).equals(content)).toBe(true);
  });

  it("is not waited for any longer when told to stop", async () => {
    const blob = join(temporaryFolder(), "blob");
    writeFileSync(`${blob}.0123abcd.incomplete`, "x");
    const stop = new AbortController();
    const waiting = PartialFile.claim(blob, {
      bytes: 9,
      idleMs: 60_000,
      signal: stop.signal,
      onOther: () => stop.abort(),
    });
    await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
  });
});
