import { describe, expect, it } from "vitest";
import { readSampling } from "../../src/web/sampling-fields.js";
import { readShareFragment, type SharedPrompt, shareFragment } from "../../src/web/share-link.js";
import { knownOf, readStack, stackWords, steeringBody, withStrength } from "../../src/web/vector-stack.js";
import { freeName, nameFor, sideProblems } from "../../src/web/vectors/sides.js";
import { layerWindows, standingOf, stripStrengths, windowStrength } from "../../src/web/vectors/trials.js";
import { weaknesses } from "../../src/web/vectors/worth.js";

describe("a stack of control vectors", () => {
  it("is read of what older pages kept, and of anything else without a fall", () => {
    expect(
      readStack({ a: 0.5, b: 0, c: "1", d: -9, e: { strength: 1, layers: [2, 3] }, f: { layers: [1, 2] } }),
    ).toEqual({
      a: { strength: 0.5, layers: null },
      d: { strength: -4, layers: null },
      e: { strength: 1, layers: [2, 3] },
    });
    expect(readStack(null)).toEqual({});
  });

  it("keeps the layers of a vector that is moved, and forgets them at 0", () => {
    const stack = { happy: { strength: 1, layers: [2, 3] as const } };
    expect(withStrength(stack, "happy", -0.5)).toEqual({ happy: { strength: -0.5, layers: [2, 3] } });
    expect(withStrength(stack, "happy", 0)).toEqual({});
    expect(withStrength(stack, "formal", 2)).toEqual({ ...stack, formal: { strength: 2, layers: null } });
    expect(knownOf(stack, ["formal"])).toEqual({});
  });

  it("is a request's steering, beside an adapter or alone, and nothing where nothing steers", () => {
    const stack = { happy: { strength: 1, layers: null }, formal: { strength: -0.5, layers: [8, 9] as const } };
    const vectors = [
      { name: "happy", strength: 1 },
      { name: "formal", strength: -0.5, layers: [8, 9] },
    ];
    expect(steeringBody(null, stack)).toEqual({ steering: { vectors } });
    expect(steeringBody({ strength: 0.5, layers: [0, 3] }, stack, true)).toEqual({
      steering: { strength: 0.5, layers: [0, 3], vectors, explain: true },
    });
    expect(steeringBody({ strength: 1, layers: null }, {})).toEqual({ steering: { strength: 1 } });
    expect(steeringBody(null, {})).toEqual({});
    expect(stackWords(stack)).toEqual(["happy 1.00", "formal -0.50 in layers 8–9"]);
  });
});

describe("a link to share", () => {
  const prompt: SharedPrompt = {
    model: "org/model one:alpaca",
    strength: 0.35,
    vectors: [
      { name: "happy", strength: -1.25, layers: null, fingerprint: "69494e233efb" },
      { name: "a.b_c-d", strength: 2, layers: [11, 13], fingerprint: null },
    ],
    systemPrompt: "Be brief & kind.\n100 %",
    sampling: readSampling({ temperature: 0.2, top_p: 0.5, max_tokens: 64, seed: 4_294_967_295 }, () => null),
    messages: [
      { role: "user", content: "Hi #1?" },
      { role: "assistant", content: "Yes + no; “ü” 😀\n" },
      { role: "user", content: "  More = better " },
    ],
  };

  it("carries all that the text follows from, to the letter", () => {
    const fragment = shareFragment(prompt);
    expect(fragment).toMatch(/^#\/chat\?[\x21-\x7e]+$/);
    expect(readShareFragment(fragment)).toEqual(prompt);
    const bare: SharedPrompt = {
      ...prompt,
      strength: null,
      vectors: [],
      systemPrompt: "",
      messages: [{ role: "user", content: "Hi" }],
    };
    expect(readShareFragment(shareFragment(bare))).toEqual(bare);
  });

  it("without a model or a last question is none, and odd parts of one are passed over", () => {
    for (const odd of ["", "#/chat", "#/chat?", "#/chat?model=x", "#/vectors?model=x&user=Hi", "#/chat?user=Hi"]) {
      expect(readShareFragment(odd)).toBeNull();
    }
    expect(readShareFragment("#/chat?model=x&user=a&assistant=b")).toBeNull();
    const odd = readShareFragment(
      "#/chat?model=x&user=Hi&strength=99&temperature=99&top_p=&seed=abc&vector=*1*all&vector=happy&vector=sad*0*all&vector=up*9*3-x*",
    );
    expect(odd).toMatchObject({ strength: 4, vectors: [{ name: "up", strength: 4, layers: null, fingerprint: null }] });
    expect(odd?.sampling).toMatchObject({ temperature: 2, top_p: null, seed: null });
  });
});

describe("two sides and a name", () => {
  const sides = { positive: "a pirate", negative: "an ordinary person", name: "pirate" };
  const problems = (change: Partial<typeof sides>, taken: readonly string[] = []) =>
    sideProblems({ ...sides, ...change }, taken).map(({ field, sentence }) => `${field}: ${sentence}`);

  it("that will do have no problem", () => {
    expect(problems({})).toEqual([]);
  });

  it.each<[Partial<typeof sides>, readonly string[], readonly RegExp[]]>([
    [{ positive: " " }, [], [/^positive: Too short: .*“a pirate”/]],
    [{ positive: "a", negative: "" }, [], [/^positive: Too short/, /^negative: Too short.*“an ordinary person”/]],
    [{ negative: "x".repeat(301) }, [], [/^negative: Too long: 301 characters, and 300/]],
    [{ negative: " A Pirate " }, [], [/^negative: Both sides say the same/]],
    [{}, ["pirate"], [/^name: There is a vector “pirate” already/]],
    [{ name: "" }, [], [/^name: It needs a name/]],
    [{ name: "no good" }, [], [/^name: A name is made of letters/]],
    [{ name: "x".repeat(97) }, [], [/^name: A name is made of letters/]],
  ])("are told what is wrong with them: %j, taken: %j", (change, taken, expected) => {
    expect(problems(change, taken)).toEqual(expected.map((pattern) => expect.stringMatching(pattern)));
  });

  it("suggest a name that is free", () => {
    expect(nameFor("a pirate", [])).toBe("pirate");
    expect(nameFor("a pirate", ["pirate", "pirate-2"])).toBe("pirate-3");
    expect(nameFor("An extremely Polite & formal diplomat of France", [])).toBe("polite-formal-diplomat");
    expect(nameFor("ein fröhlicher Mensch", [])).toBe("ein-frohlicher-mensch");
    expect(nameFor("???", [])).toBe("");
    expect(freeName("happy", [])).toBe("happy");
    for (const name of [nameFor("x".repeat(400), []), nameFor("4 -- Dr. Who!", [])]) {
      expect(problems({ name })).toEqual([]);
    }
  });
});

describe("strengths and layers to try", () => {
  const vector = (recommended: readonly [number, number] | null) => ({ kind: "vector" as const, recommended });

  it.each<[readonly [number, number] | null, readonly number[]]>([
    [
      [-1, 1.5],
      [-1, 0, 0.75, 1.5, 2],
    ],
    [
      [-0.5, 0.5],
      [-0.5, 0, 0.25, 0.5, 1],
    ],
    [
      [0, 1],
      [-0.5, 0, 0.5, 1, 1.5],
    ],
    [
      [-1, 0],
      [-1.5, -1, -0.5, 0, 0.5],
    ],
    [null, [-1, -0.5, 0, 0.5, 1]],
  ])("of a vector with the range %j are %j: the base, the range, a step beyond", (range, expected) => {
    const strengths = stripStrengths(vector(range));
    expect(strengths).toEqual(expected);
    if (range === null) return;
    const standings = strengths.map((strength) => standingOf(strength, vector(range)));
    expect(new Set(standings)).toEqual(new Set(["base", "recommended", "beyond"]));
  });

  it("of an adapter go from the base past what was trained", () => {
    const adapter = { kind: "adapter" as const, recommended: null };
    expect(stripStrengths(adapter).map((strength) => standingOf(strength, adapter))).toEqual([
      "base",
      "recommended",
      "recommended",
      "beyond",
      "beyond",
    ]);
    expect(standingOf(1, vector(null))).toBe("unknown");
  });

  it("windows cover every layer once", () => {
    expect(layerWindows([8, 21])).toEqual([
      [8, 10],
      [11, 13],
      [14, 15],
      [16, 18],
      [19, 21],
    ]);
    expect(layerWindows([1, 1])).toEqual([[1, 1]]);
    expect(layerWindows([0, 2])).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
    expect(layerWindows([0, 29]).flatMap(([from, to]) => to - from + 1)).toEqual([6, 6, 6, 6, 6]);
  });

  it("a window's strength is within what the server takes", () => {
    expect(windowStrength(vector([-1, 0.5]))).toBe(1.5);
    expect(windowStrength(vector([-1, 2]))).toBe(4);
    expect(windowStrength(vector([-1, 0]))).toBe(1);
  });
});

describe("what a vector is worth", () => {
  const good = { separation: 0.75, layerSeparations: [0.6, 0.98], recommended: [-1, 1] as const };

  it("is said only where something speaks against it", () => {
    expect(weaknesses(good, true)).toEqual([]);
    expect(weaknesses({ ...good, recommended: null }, false)).toEqual([]);
    expect(weaknesses({ separation: null, layerSeparations: [], recommended: null }, false)).toEqual([]);
    expect(weaknesses({ ...good, layerSeparations: [0.5, 0.71] }, true)).toEqual([
      expect.stringMatching(/weak.*71 in 100/),
    ]);
    expect(weaknesses({ ...good, recommended: null }, true)).toEqual([
      expect.stringMatching(/No strength that was tried/),
    ]);
    expect(weaknesses({ ...good, recommended: [0, 1] }, true)).toEqual([expect.stringMatching(/one way only.*“less”/)]);
  });
});
