import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readKeyFile } from "../../src/server/edge/key-file.js";
import { KeyRing } from "../../src/server/edge/key-ring.js";
import { runCommand } from "../support/run-command.js";

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "toast-keys-"));
  file = join(folder, "keys.json");
});
afterAll(() => rm(folder, { recursive: true }));

async function keys(words: readonly string[], environment: NodeJS.ProcessEnv = { KEYS_FILE: file }) {
  const { code, outLines: out, err } = await runCommand(["keys", ...words], { environment });
  return { code, out, err };
}

describe("toast-serve keys", () => {
  it("makes a key, prints it once and keeps its hash; lists it; takes it out", async () => {
    const alice = await keys(["create", "alice"]);
    expect([alice.code, alice.out]).toEqual([0, [expect.stringMatching(/^sk-toast-[\w-]{43}$/)]]);
    const root = await keys(["create", "root", "--admin", "--file", file], {});
    const ring = new KeyRing(await readKeyFile(file));
    expect(ring.find(alice.out[0] ?? "")).toMatchObject({ name: "alice", role: "user" });
    expect(ring.find(root.out[0] ?? "")).toMatchObject({ name: "root", role: "admin" });
    expect(await readFile(file, "utf8")).not.toContain(alice.out[0]);
    expect((await keys(["list"])).out.map((line) => line.split("\t").slice(0, 2))).toEqual([
      ["alice", "user"],
      ["root", "admin"],
    ]);
    expect((await keys(["revoke", "alice"])).code).toBe(0);
    expect((await keys(["list"])).out).toHaveLength(1);
  });

  it.each([
    [["create", "root"], 2, /has a key named 'root'\. Choose another name, or revoke that one\./],
    [["create", "a name"], 2, /A key's name has up to 64 letters, digits/],
    [["revoke", "nobody"], 2, /has no key named 'nobody'\./],
    [
      ["list", "--file", "/no/such/file.json"],
      1,
      /The keys file \/no\/such\/file\.json cannot be read\. 'toast-serve keys create/,
    ],
    [
      ["create", "x", "--file", "/no/such/file.json"],
      1,
      /The keys file \/no\/such\/file\.json cannot be written: ENOENT/,
    ],
  ])("says what is wrong: %j", async (words, code, message) => {
    expect(await keys(words)).toMatchObject({ code, err: expect.stringMatching(message), out: [] });
  });

  it("asks for a file when none is named", async () => {
    expect(await keys(["list"], {})).toMatchObject({ code: 2, err: expect.stringContaining("--file <file>") });
  });

  it("teaches", async () => {
    const { code, out } = await keys(["--help"]);
    expect(code).toBe(0);
    expect(out.join("\n")).toContain("toast-serve keys create alice --file keys.json");
  });
});
