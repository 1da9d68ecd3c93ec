import { expect, it } from "vitest";
import { layerGains } from "../../src/steering/layer-gains.js";

it("steers the layers of the range, both ends included, and no other", () => {
  const gains = layerGains({ kind: "steered", adapter: "a", strength: 0.5, layers: [1, 2], vectors: [] }, 4);
  expect([...gains]).toEqual([0, 0.5, 0.5, 0]);
});
