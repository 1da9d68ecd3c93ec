import { describe, expect, it } from "vitest";
import { layInParts, type Weight } from "../../src/convert/weight-layout.js";
import { tensors } from "../../src/convert/weight-source.js";

const matrix = (name: string, rows: number): Weight[] => [
  { name, type: "int8", dims: [rows, 1000], source: { kind: "int8", rows: tensors(name) } },
  { name: `${name}.scales`, type: "float32", dims: [rows], source: { kind: "scales", of: name } },
];
const norm = (name: string): Weight => ({
  name,
  type: "float32",
  dims: [1000],
  source: { kind: "float32", rows: tensors(name) },
});

describe("weights laid in parts", () => {
  const weights = [
    norm("model.norm.weight"),
    ...matrix("layers.10.down.weight", 20_000),
    ...matrix("layers.2.down.weight", 20_000),
    ...matrix("layers.2.gate_up.weight", 50_000),
    ...matrix("layers.1.down.weight", 20_000),
  ];
  const files = layInParts("decoder.onnx", weights);

  it("have at most 45 MB a part, but for what is larger alone, layers by number, and what is derived beside it", () => {
    expect(files.map(({ name, weights: placed }) => [name, placed.map((weight) => weight.name)])).toEqual([
      [
        "decoder.onnx.weights-1",
        ["layers.1.down.weight", "layers.1.down.weight.scales", "layers.2.down.weight", "layers.2.down.weight.scales"],
      ],
      ["decoder.onnx.weights-2", ["layers.2.gate_up.weight", "layers.2.gate_up.weight.scales"]],
      ["decoder.onnx.weights-3", ["layers.10.down.weight", "layers.10.down.weight.scales"]],
      ["decoder.onnx.data", ["model.norm.weight"]],
    ]);
    for (const { weights: placed } of files) {
      let end = 0;
      for (const { offset, bytes } of placed) {
        expect(offset).toBeGreaterThanOrEqual(end);
        expect(offset % (bytes >= 1 << 20 ? 65536 : 64)).toBe(0);
        end = offset + bytes;
      }
    }
  });

  it("lie where they lay, in whatever order and beside whatever small weights a later graph names them", () => {
    const later = layInParts("decoder.onnx", [norm("a.new.gain"), ...weights].reverse());
    expect(later.slice(0, 3)).toEqual(files.slice(0, 3));
  });
});
