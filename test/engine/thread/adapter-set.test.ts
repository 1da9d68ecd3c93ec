import { describe, expect, it } from "vitest";
import { PrefixCache } from "../../../src/engine/loop/prefix-cache.js";
import { isSteeredBy, steeredPrefix } from "../../../src/engine/loop/sequence-prefixes.js";
import { AdapterSet, type AdapterUsers } from "../../../src/engine/thread/adapter-set.js";
import { KvCache } from "../../../src/model/kv-cache.js";
import { noPresentation } from "../../../src/model/manifest.js";
import type { Adapter } from "../../../src/steering/adapter.js";

class Users implements AdapterUsers {
  readonly using = new Set<string>();
  readonly forgotten: string[] = [];

  usesAdapter(key: string): boolean {
    return this.using.has(key);
  }

  forgetAdapter(key: string): void {
    this.forgotten.push(key);
  }
}

function part(name: string, fingerprint: string) {
  const state = { released: 0 };
  const adapter = {
    release: () => {
      state.released++;
      return Promise.resolve();
    },
  } as unknown as Adapter;
  return {
    state,
    info: { name, stage: "tuned", licence: null, presentation: noPresentation, fingerprint },
    adapter,
    template: null,
  };
}

describe("the adapters of an engine", () => {
  it("are found by name, one version each, and loaded until nobody uses them", async () => {
    const set = new AdapterSet();
    const users = new Users();
    const [first, second] = [part("poet", "aaa"), part("poet", "bbb")];
    expect(set.put(first)).toBeNull();
    const oldKey = set.find("poet")?.key ?? "";
    users.using.add(oldKey);
    const replaced = set.put(second);
    expect(replaced?.key).toBe(oldKey);
    expect(set.infos).toEqual([second.info]);

    let isReleased = false;
    if (replaced !== null) {
      set.retire(replaced, users, () => {
        isReleased = true;
      });
    }
    expect([...set.byKey.keys()]).toHaveLength(2);
    set.settle(users);
    expect([first.state.released, users.forgotten]).toEqual([0, []]);
    users.using.clear();
    set.settle(users);
    set.settle(users);
    await Promise.resolve();
    await Promise.resolve();
    expect([first.state.released, isReleased, users.forgotten]).toEqual([1, true, [oldKey]]);
    expect([...set.byKey.values()]).toEqual([second.adapter]);
    await set.release();
    expect([first.state.released, second.state.released]).toEqual([1, 1]);
  });

  it("have another key with each loading, even of the same files", () => {
    const set = new AdapterSet();
    const keys = ["aaa", "aaa", "bbb"].map((fingerprint) => {
      set.put(part("poet", fingerprint));
      return set.find("poet")?.key;
    });
    expect(new Set(keys).size).toBe(3);
    expect(keys.map((key) => key?.split(".")[0])).toEqual(["poet@aaa", "poet@aaa", "poet@bbb"]);
    expect([set.take("poet")?.key, set.take("poet"), set.find("poet")]).toEqual([keys[2], null, undefined]);
  });
});

describe("steered prefixes", () => {
  const steering = (adapter: string) =>
    ({ kind: "steered", adapter, strength: 1, layers: [0, 1], vectors: [] }) as const;
  const keyOf = (adapter: string, gains: readonly number[]) =>
    steeredPrefix({ steering: steering(adapter) }, { gains: Float32Array.from(gains), stack: null });

  it("belong to one version of an adapter, and to its gains", () => {
    const keys = [keyOf("poet@aaa.0", [1, 1]), keyOf("poet@bbb.1", [1, 1]), keyOf("poet@aaa.0", [1, 0])];
    expect(new Set(keys).size).toBe(3);
    expect(keys.map((key) => isSteeredBy(key, "poet@aaa.0"))).toEqual([true, false, true]);
    // No name is the beginning of another one's.
    expect(isSteeredBy(keyOf("poet@aaa.01", [1]), "poet@aaa.0")).toBe(false);
  });

  it("are dropped with their adapter, and no others", () => {
    const shape = { layers: 2, hiddenSize: 1, heads: 1, kvHeads: 1, headDim: 1, vocabSize: 8, contextLength: 512 };
    const cache = new KvCache(shape);
    const prefixes = new PrefixCache(cache, 16);
    const lane = cache.allocate("steered");
    const tokenIds = Array.from({ length: 256 }, (_, at) => at % 7);
    cache.copyIn(lane, new Float32Array(shape.layers * 2 * 256), 256, 256);
    const computed = { tokenIds, prompt: 256, computed: 256 };
    const [mine, half, other] = [keyOf("poet@a.0", [1, 1]), keyOf("poet@a.0", [0.5, 1]), keyOf("bard@a.1", [1, 1])];
    for (const key of [mine, half, other]) prefixes.remember(key, computed, lane, null, 1e9);
    const third = prefixes.bytes / 3;
    prefixes.forget((key) => isSteeredBy(key, "poet@a.0"));
    expect(prefixes.bytes).toBe(third);
    expect([mine, half, other].map((key) => prefixes.find(key, computed, 256).tokens)).toEqual([0, 0, 256]);
    prefixes.shrinkTo(0);
    expect(prefixes.bytes).toBe(0);
    cache.release(lane);
  });
});
