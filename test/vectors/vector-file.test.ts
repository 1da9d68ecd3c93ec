import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { ggmlTypes } from "../../src/convert/gguf/ggml-types.js";
import { writeGguf } from "../../src/convert/gguf/gguf-writer.js";
import { maxVectorBytes, noDetails, readVectorFile, writeVectorFile } from "../../src/vectors/vector-file.js";
import { floatTensor, key, spell, tensorInfo, text, u32 } from "../convert/gguf/gguf-file.js";
import { temporaryFolder } from "../convert/tiny-folder.js";

/** Written by scripts/write_control_vector.py with the Python package gguf. */
const foreign = fileURLToPath(new URL("repeng.gguf", import.meta.url));

const directions = new Map([
  [1, Float32Array.of(1, -2, 3)],
  [3, Float32Array.of(0.5, 0.25, -1e-8)],
]);
const details = {
  ...noDetails,
  description: "Cheerful; below 0, sad.",
  examplePrompt: "How are you?",
  recommended: [-0.75, 1.5] as const,
  method: "pca" as const,
  normShare: 0.0312,
  separation: 0.975,
  layerNormShares: [0.03, 0.0324],
  layerSeparations: [0.95, 1],
  backboneSha256: "ab".repeat(32),
  modelHint: "llama",
};

async function write(
  tensors: Parameters<typeof writeGguf>[2],
  metadata: readonly (readonly [string, string | number])[] = [["general.architecture", "controlvector"]],
): Promise<string> {
  const path = join(temporaryFolder(), "vector.gguf");
  const values = metadata.map(([name, value]) => {
    const written = typeof value === "string" ? { kind: "string", value } : { kind: "uint32", value };
    return [name, written] as const;
  });
  await writeGguf(path, new Map(values as never), tensors);
  return path;
}

describe("a control vector's file", () => {
  it("comes back as it was written, every bit and every detail", async () => {
    const path = join(temporaryFolder(), "happy.gguf");
    await writeVectorFile(path, { directions, details });
    expect(await readVectorFile(path)).toEqual({ directions, details });
    await writeVectorFile(path, { directions, details: { ...noDetails, description: "Another." } });
    expect((await readVectorFile(path)).details).toEqual({ ...noDetails, description: "Another.", modelHint: "llama" });
  });

  it("of repeng is read: direction.N belongs to layer N, counted from 0", async () => {
    const { directions: read, details: said } = await readVectorFile(foreign);
    expect([...read.keys()]).toEqual([1, 2, 3]);
    for (const direction of read.values()) {
      expect(direction).toHaveLength(8);
      expect(Math.hypot(...direction)).toBeCloseTo(1, 5);
    }
    expect(said).toEqual({ ...noDetails, modelHint: "llama" });
  });

  it("that is not there is missed by name", async () => {
    await expect(readVectorFile("/nowhere/x.gguf")).rejects.toMatchObject({ code: "file_missing" });
  });

  it("has no direction for layer 0, when it is written and when it is read", async () => {
    const path = join(temporaryFolder(), "zero.gguf");
    const written = writeVectorFile(path, { directions: new Map([[0, Float32Array.of(1)]]), details: noDetails });
    await expect(written).rejects.toMatchObject({
      code: "invalid_vector",
      message: expect.stringContaining("Layer 0"),
    });
    const read = readVectorFile(await write([floatTensor("direction.0", [2], Float32Array.of(1, 2))]));
    await expect(read).rejects.toMatchObject({
      code: "invalid_vector",
      message: expect.stringContaining("layer 0 has none"),
    });
  });
});

describe("what is no control vector is refused with a sentence", () => {
  const row = floatTensor("direction.1", [2], Float32Array.of(1, 2));
  const ofVector = (...more: (readonly [string, string | number])[]) =>
    [["general.architecture", "controlvector"], ...more] as const;
  const half = ggmlTypes.find(({ name }) => name === "F16");
  const cases: [string, () => Promise<string> | string, RegExp][] = [
    ["a model", () => write([row], [["general.architecture", "llama"]]), /architecture 'llama'/],
    ["no architecture", () => write([row], []), /general\.architecture is missing/],
    ["no direction", () => write([]), /no tensor direction\.N/],
    ["another tensor", () => write([row, floatTensor("bias.1", [2], Float32Array.of(1, 2))]), /bias\.1 is no layer's/],
    ["two widths", () => write([row, floatTensor("direction.2", [3], Float32Array.of(1, 2, 3))]), /has 3 numbers/],
    ["a matrix", () => write([floatTensor("direction.1", [2, 2], new Float32Array(4))]), /F32 \[2, 2\]/],
    [
      "halves",
      () => write([{ name: "direction.1", type: half as never, dimensions: [2], chunks: () => [new Uint8Array(4)] }]),
      /F16 \[2\]; a direction is one row of F32/,
    ],
    ["NaN", () => write([floatTensor("direction.1", [2], Float32Array.of(1, Number.NaN))]), /NaN/],
    [
      "fewer layers than directions",
      () =>
        write([row, floatTensor("direction.2", [2], new Float32Array(2))], ofVector(["controlvector.layer_count", 1])),
      /says that it has 1 layers/,
    ],
    ["a text for a number", () => write([row], ofVector(["controlvector.layer_count", "two"])), /has to be an integer/],
    [
      "a tensor that reaches beyond the file",
      () => {
        const keys = [key("general.architecture", 8, text("controlvector"))];
        return spell({ keys, tensors: [tensorInfo("direction.1", [1n << 40n], 0, 0n)] });
      },
      /cannot lie in its/,
    ],
    [
      "a million tensors",
      () => spell({ tensorCount: 1n << 30n, keys: [key("a", 4, u32(1))] }),
      /claims 1073741824 tensors/,
    ],
    [
      "a file that is cut off",
      () => {
        const path = join(temporaryFolder(), "cut.gguf");
        writeFileSync(path, readFileSync(foreign).subarray(0, 300));
        return path;
      },
      /damaged|ends/,
    ],
    [
      "a file that is too large",
      () => {
        const path = join(temporaryFolder(), "large.gguf");
        writeFileSync(path, Buffer.alloc(maxVectorBytes + 1));
        return path;
      },
      /has 33554433 bytes/,
    ],
  ];
  it.each(cases)("%s", async (_, file, message) => {
    const path = await file();
    await expect(readVectorFile(path)).rejects.toMatchObject({ code: "invalid_vector", param: "file" });
    await expect(readVectorFile(path)).rejects.toThrow(message);
  });
});
