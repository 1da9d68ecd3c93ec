import { describe, expect, it } from "vitest";
import {
  type ControlVector,
  checkControlVector,
  layersOf,
  vectorFingerprint,
} from "../../src/steering/control-vector.js";

const shape = { layers: 4, hiddenSize: 3 };
const direction = Float32Array.of(1, -2, 0);
const good: ControlVector = {
  name: "happy",
  directions: new Map([
    [2, direction],
    [1, Float32Array.of(0, 0, 0)],
  ]),
};

describe("a control vector", () => {
  it("fits a model that has its layers and its width", () => {
    expect(() => checkControlVector(good, shape)).not.toThrow();
    expect(layersOf(good)).toEqual([1, 2]);
  });

  it.each([
    ["another model's layers", { directions: new Map([[4, direction]]) }, /layer 4, but this model has layers 0 to 3/],
    ["a layer that is none", { directions: new Map([[-1, direction]]) }, /layer -1/],
    ["half a layer", { directions: new Map([[0.5, direction]]) }, /layer 0.5/],
    ["another width", { directions: new Map([[1, Float32Array.of(1)]]) }, /1 numbers in layer 1, .* hidden size is 3/],
    ["NaN", { directions: new Map([[1, Float32Array.of(1, Number.NaN, 0)]]) }, /layer 1 that are NaN or infinite/],
    ["infinity", { directions: new Map([[1, Float32Array.of(1, Infinity, 0)]]) }, /NaN or infinite/],
    ["nothing", { directions: new Map() }, /no directions/],
    ["zeros alone", { directions: new Map([[1, new Float32Array(3)]]) }, /zero in every layer/],
    ["a name that is a path", { name: "../happy" }, /cannot be the name/],
    ["no name", { name: "" }, /cannot be the name/],
  ])("is refused for %s", (_, change, message) => {
    const error = expect.objectContaining({ code: "invalid_vector", message: expect.stringMatching(message) });
    expect(() => checkControlVector({ ...good, ...change }, shape)).toThrow(error);
  });

  it("has a fingerprint of its content, whatever it is called and in which order its layers come", () => {
    const reversed = new Map([...good.directions].reverse());
    expect(vectorFingerprint({ name: "other", directions: reversed })).toBe(vectorFingerprint(good));
    const moved = new Map([[3, direction]]);
    expect(vectorFingerprint({ name: "happy", directions: moved })).not.toBe(vectorFingerprint(good));
  });
});
