import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiKeys } from "../../../src/server/edge/api-keys.js";
import { readKeyFile, writeKeyFile } from "../../../src/server/edge/key-file.js";
import { hashKey, KeyRing, newKey, type StoredKey } from "../../../src/server/edge/key-ring.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "toast-keys-"));
});
afterAll(() => rm(folder, { recursive: true }));

const stored = (name: string, key: string, role: StoredKey["role"] = "user"): StoredKey => ({
  name,
  role,
  sha256: hashKey(key),
  created: "2024-01-01T00:00:00.000Z",
});

describe("a key", () => {
  it("is new each time and has 256 random bits", () => {
    const keys = Array.from({ length: 100 }, newKey);
    expect(new Set(keys).size).toBe(100);
    expect(keys.every((key) => /^sk-toast-[\w-]{43}$/.test(key))).toBe(true);
  });

  it("is found by itself alone", () => {
    const [one, two] = [newKey(), newKey()];
    const ring = new KeyRing([stored("one", one), stored("two", two, "admin")]);
    expect([ring.find(one)?.name, ring.find(two)?.name]).toEqual(["one", "two"]);
    for (const wrong of [newKey(), one.slice(0, -1), `${one} `, "", hashKey(one)]) expect(ring.find(wrong)).toBeNull();
    expect([ring.hasAdmin, new KeyRing([stored("one", one)]).hasAdmin]).toEqual([true, false]);
  });
});

describe("a keys file", () => {
  it("has only hashes, and only its owner may read it", async () => {
    const path = join(folder, "private.json");
    const key = newKey();
    await writeKeyFile(path, [stored("alice", key)]);
    expect(await readFile(path, "utf8")).not.toContain(key.slice("sk-toast-".length));
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readKeyFile(path)).toEqual([stored("alice", key)]);
  });

  it.each([
    ["{", /is not a file of keys: it is not JSON/],
    ['{"version": 2, "keys": []}', /version/],
    ['{"version": 1, "keys": [{"name": "a", "role": "root", "sha256": "", "created": ""}]}', /keys\.0\.role/],
    [JSON.stringify({ version: 1, keys: [stored("a", "x"), stored("a", "y")] }), /two keys have one name/],
  ])("is refused with the place of its fault: %s", async (text, message) => {
    const path = join(folder, "bad.json");
    await writeFile(path, text);
    await expect(readKeyFile(path)).rejects.toMatchObject({
      code: "invalid_config",
      message: expect.stringMatching(message),
    });
  });
});

describe("ApiKeys", () => {
  it("follows its file: new keys count, revoked ones do not, and a broken file changes nothing", async () => {
    const path = join(folder, "live.json");
    const [alice, bob, given] = [newKey(), newKey(), newKey()];
    const errors: unknown[] = [];
    const reloads: number[] = [];
    await writeKeyFile(path, [stored("alice", alice)]);
    const keys = await ApiKeys.open({
      userKeys: [given],
      adminKeys: [],
      file: path,
      maxAgeMs: 0,
      onReload: (count) => reloads.push(count),
      onError: (error) => errors.push(error),
    });
    const known = async () => {
      const ring = await keys.current();
      return [given, alice, bob].map((key) => ring.find(key)?.name ?? null);
    };
    expect(await known()).toEqual(["given user key 1", "alice", null]);
    await writeKeyFile(path, [stored("bob", bob)]);
    expect(await known()).toEqual(["given user key 1", null, "bob"]);
    await writeFile(path, "half a fi");
    expect(await known()).toEqual(["given user key 1", null, "bob"]);
    await rm(path);
    expect(await known()).toEqual(["given user key 1", null, "bob"]);
    await writeKeyFile(path, []);
    expect(await known()).toEqual(["given user key 1", null, null]);
    expect([reloads, errors.length]).toEqual([[1, 0], 2]);
  });

  it("looks at the file once for many requests", async () => {
    const path = join(folder, "rare.json");
    const [alice, bob] = [newKey(), newKey()];
    await writeKeyFile(path, [stored("alice", alice)]);
    const keys = await ApiKeys.open({ userKeys: [], adminKeys: [], file: path, maxAgeMs: 3_600_000 });
    await writeKeyFile(path, [stored("bob", bob)]);
    expect((await keys.current()).find(alice)?.name).toBe("alice");
  });

  it("asks for keys even when its file has none left", async () => {
    const path = join(folder, "empty.json");
    await writeKeyFile(path, []);
    expect((await ApiKeys.open({ userKeys: [], adminKeys: [], file: path })).required).toBe(true);
    expect((await ApiKeys.open({ userKeys: [], adminKeys: [], file: null })).required).toBe(false);
  });

  it("does not open without its file", async () => {
    const opening = ApiKeys.open({ userKeys: [], adminKeys: [], file: join(folder, "none.json") });
    await expect(opening).rejects.toMatchObject({ code: "file_missing" });
  });
});
