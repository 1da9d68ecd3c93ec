import { mkdir, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeWholeFile } from "../src/write-whole-file.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "toast-whole-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("writeWholeFile", () => {
  it("replaces a file, with the permissions asked for", async () => {
    const path = join(folder, "a.json");
    await writeWholeFile(path, "old");
    await writeWholeFile(path, "new", { mode: 0o600 });
    expect(await readFile(path, "utf8")).toBe("new");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(["a.json"]);
  });

  it("leaves what is there as it is, and nothing beside it, when it cannot", async () => {
    const path = join(folder, "taken");
    await mkdir(path);
    await expect(writeWholeFile(path, "text", { name: "The file" })).rejects.toMatchObject({
      code: "write_failed",
      message: expect.stringMatching(/^The file cannot be written: /),
    });
    expect((await readdir(folder)).filter((name) => name.startsWith("taken"))).toEqual(["taken"]);
  });
});
