import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ggmlTypes } from "../../../src/convert/gguf/ggml-types.js";
import { GgufReader } from "../../../src/convert/gguf/gguf-reader.js";
import { Golden } from "../golden.js";

const here = new URL("./", import.meta.url).pathname;
const golden = new Golden(`${here}blocks.safetensors`);

describe("values of a GGUF tensor", () => {
  let reader: GgufReader;
  beforeAll(async () => {
    reader = await GgufReader.open([`${here}blocks.gguf`]);
  });
  afterAll(() => reader.close());

  it.each(ggmlTypes.map(({ name }) => name))("of %s are the reference's, bit for bit", async (name) => {
    const values = await reader.readFloats(reader.expect(name, [256, 12]));
    expect(new Uint32Array(values.buffer)).toEqual(new Uint32Array(golden.floats(name).buffer));
    expect(new Set(values).size).toBeGreaterThan(100);
  });

  it.each([1, 3, 5, 12])("come in whole rows, %i together", async (together) => {
    const tensor = reader.expect("Q4_K", [256, 12]);
    const all: number[] = [];
    for await (const rows of reader.floatRows(tensor, together)) {
      expect(rows.length % 256).toBe(0);
      all.push(...rows);
    }
    expect(Float32Array.from(all)).toEqual(golden.floats("Q4_K"));
  });
});
