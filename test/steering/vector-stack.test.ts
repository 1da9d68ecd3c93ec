import { describe, expect, it } from "vitest";
import { VectorStack } from "../../src/steering/vector-stack.js";

const shape = { layers: 3, hiddenSize: 2 };
const happy = {
  name: "happy",
  directions: new Map([
    [0, Float32Array.of(3, 4)],
    [2, Float32Array.of(1, 0)],
  ]),
};
const formal = { name: "formal", directions: new Map([[2, Float32Array.of(0, 2)]]) };

describe("a stack of control vectors", () => {
  it("adds up what each adds behind the layers of its range", () => {
    const stack = new VectorStack(
      [
        { ...happy, strength: 0.5, layers: [0, 2] },
        { ...formal, strength: -1, layers: [1, 2] },
        { ...happy, strength: 2, layers: [0, 1] },
      ],
      shape,
    );
    expect([...stack.addition]).toEqual([7.5, 10, 0, 0, 0.5, -2]);
  });

  it("is the same in any order, and another for another strength or range", () => {
    const keyOf = (...vectors: ConstructorParameters<typeof VectorStack>[0]) => new VectorStack(vectors, shape).key;
    const [a, b] = [
      { ...happy, strength: 0.1, layers: [0, 2] as const },
      { ...formal, strength: 0.7, layers: [0, 2] as const },
    ];
    expect(keyOf(a, b)).toBe(keyOf(b, a));
    expect(keyOf({ ...a, name: "joyful" })).toBe(keyOf(a));
    const keys = [keyOf(a), keyOf(b), keyOf(a, b), keyOf({ ...a, strength: 0.2 }), keyOf({ ...a, layers: [1, 2] })];
    expect(new Set(keys).size).toBe(keys.length);
  });

  it("projects a layer's output on each direction, with and without what was added", () => {
    const stack = new VectorStack(
      [
        { ...formal, strength: 1, layers: [2, 2] },
        { ...happy, strength: 1, layers: [0, 2] },
      ],
      shape,
    );
    // Two tokens, [T,D] of each layer.
    const outputs = [Float32Array.of(3, 4, 0, 5), new Float32Array(4), Float32Array.of(1, 2, 7, 9)];
    expect(stack.project(outputs)).toEqual([
      [
        { name: "formal", before: [0], after: [2] },
        { name: "happy", before: [expect.closeTo(0, 6), null, 0], after: [expect.closeTo(5, 6), null, 1] },
      ],
      [
        { name: "formal", before: [7], after: [9] },
        { name: "happy", before: [expect.closeTo(-1, 6), null, 6], after: [expect.closeTo(4, 6), null, 7] },
      ],
    ]);
  });
});
