import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SafetensorsReader } from "../../src/convert/safetensors-reader.js";
import { ToastError } from "../../src/errors.js";
import { type FloatDtype, roundTo, safetensorsBytes, withHeader, writeSafetensors } from "./safetensors-file.js";
import { temporaryFolder } from "./tiny-folder.js";

const values = Float32Array.from([0, -0, 1, -1.5, 0.1, 65504, 2 ** -14, 2 ** -24, -3 * 2 ** -24, 1e-3, 3.25, 1234.5]);
const tensors = {
  first: { shape: [3, 4], values },
  second: { shape: [2], values: Float32Array.of(7, 8) },
};

describe("a safetensors file", () => {
  it.each(["F32", "F16", "BF16"] as const)("gives its %s tensors as float32", async (dtype: FloatDtype) => {
    const file = join(temporaryFolder(), "model.safetensors");
    writeSafetensors(file, tensors, dtype);
    const reader = await SafetensorsReader.openFiles([file]);
    expect(await reader.readFloats(reader.expect("first", [3, 4]))).toEqual(roundTo(dtype, values));
    expect(await reader.readFloats(reader.expect("second", [2]))).toEqual(Float32Array.of(7, 8));
    await reader.close();
  });

  it("may be empty of tensors, and its tensors of elements", async () => {
    const file = join(temporaryFolder(), "model.safetensors");
    writeSafetensors(file, { none: { shape: [0, 4], values: new Float32Array() } });
    const reader = await SafetensorsReader.openFiles([file]);
    expect(await reader.readFloats(reader.expect("none", [0, 4]))).toHaveLength(0);
    await reader.close();
  });

  it("may pad its header with spaces", async () => {
    const entry = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
    const bytes = withHeader(`${JSON.stringify({ "a:{\\": entry })}      `, new Uint8Array(4));
    const reader = await open(bytes);
    expect(reader.find("a:{\\")?.shape).toEqual([1]);
    await reader.close();
  });
});

const entry = (begin: number, end: number, shape: readonly number[] = [(end - begin) / 4], dtype = "F32") => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});
const eight = new Uint8Array(8);
const good = safetensorsBytes(tensors);

const damaged: Record<string, readonly [Buffer, RegExp]> = {
  "shorter than a header": [Buffer.from("abc"), /3 bytes, too few/],
  "with a header longer than the file": [good.subarray(0, 40), /header claims \d+ bytes, but the file ends after 40/],
  "with a header beyond all measure": [Buffer.alloc(16, 0xff), /header claims \d+ bytes, the limit is/],
  "whose header is no JSON": [withHeader("{nothing", eight), /no JSON object/],
  "whose header is no object": [withHeader("[1]", eight), /no JSON object/],
  "that is cut off": [
    good.subarray(0, good.length - 5),
    /tensor second ends at byte \d+, but the file is cut off after/,
  ],
  "with bytes at the end": [Buffer.concat([good, eight]), /8 bytes after the last tensor/],
  "whose tensors overlap": [header({ a: entry(0, 8), b: entry(4, 8) }), /tensor b overlaps tensor a/],
  "whose tensors leave a hole": [header({ a: entry(4, 8) }), /4 bytes before tensor a belong to none/],
  "with a tensor out of range": [header({ a: entry(0, 16) }), /tensor a ends at byte \d+, but the file is cut off/],
  "with a size that contradicts its shape": [header({ a: entry(0, 8, [3]) }), /a takes 8 bytes, but F32 \[3\] are 12/],
  "with offsets the wrong way round": [header({ a: entry(8, 0, [2]) }), /tensor a takes -8 bytes/],
  "with a dtype unheard of": [header({ a: entry(0, 8, [2], "F31") }), /unknown dtype F31/],
  "with a dtype of every object": [header({ a: entry(0, 8, [2], "constructor") }), /unknown dtype constructor/],
  "with an entry that is none": [header({ a: { dtype: "F32", shape: [-2], data_offsets: [0, 8] } }), /no valid dtype/],
  "that names a tensor twice": [
    withHeader(`{"a":${JSON.stringify(entry(0, 8))},"\\u0061":${JSON.stringify(entry(0, 8))}}`, eight),
    /names tensor a twice/,
  ],
};

describe("a safetensors file is refused", () => {
  it.each(Object.entries(damaged))("%s", async (_, [bytes, message]) => {
    const error = await refusal(open(bytes));
    expect(error.code).toBe("corrupt_safetensors");
    expect(error.message).toMatch(message);
    expect(error.message).toContain("model.safetensors");
  });

  it("that shrinks while it is read", async () => {
    const file = join(temporaryFolder(), "model.safetensors");
    writeSafetensors(file, tensors);
    const reader = await SafetensorsReader.openFiles([file]);
    truncateSync(file, good.length - 10);
    const error = await refusal(reader.readFloats(reader.expect("first", [3, 4])));
    expect(error.message).toMatch(/ends inside tensor first/);
    await reader.close();
  });

  it.each([
    ["F32", Number.NaN],
    ["BF16", Number.NEGATIVE_INFINITY],
    ["F16", Number.POSITIVE_INFINITY],
  ] as const)("with %s weights that are %d", async (dtype, bad) => {
    const file = join(temporaryFolder(), "model.safetensors");
    const spoilt = Float32Array.from({ length: 12 }, (_, index) => (index === 7 ? bad : 1));
    writeSafetensors(file, { first: { shape: [3, 4], values: spoilt } }, dtype);
    const reader = await SafetensorsReader.openFiles([file]);
    const error = await refusal(reader.readFloats(reader.expect("first", [3, 4])));
    expect(error.code).toBe("not_finite_weights");
    expect(error.message).toContain(`tensor first holds ${bad} at element 7`);
    await reader.close();
  });

  it("whose tensor is missing, has another shape, or is no float", async () => {
    const reader = await open(header({ a: entry(0, 8, [1], "I64") }));
    const failures = [() => reader.expect("b", [1]), () => reader.expect("a", [2]), () => reader.expect("a", [1])];
    expect(failures.map(codeOf)).toEqual(["missing_tensor", "misshapen_tensor", "misshapen_tensor"]);
    await reader.close();
  });
});

describe("an index of shards is refused", () => {
  const index = (folder: string, map: unknown): void => {
    writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  };

  it("when a shard is missing", async () => {
    const folder = temporaryFolder();
    index(folder, { first: "model-1.safetensors" });
    const error = await refusal(SafetensorsReader.openFolder(folder));
    expect(error.code).toBe("file_missing");
    expect(error.message).toContain("model-1.safetensors is missing");
  });

  it("when it points outside of the folder", async () => {
    const folder = temporaryFolder();
    index(folder, { first: "../model.safetensors" });
    expect((await refusal(SafetensorsReader.openFolder(folder))).message).toContain("../model.safetensors is not");
  });

  it("when a tensor is not where it says, or in two shards", async () => {
    const folder = temporaryFolder();
    writeSafetensors(join(folder, "a.safetensors"), { first: tensors.first });
    writeSafetensors(join(folder, "b.safetensors"), { second: tensors.second });
    index(folder, { first: "b.safetensors", second: "b.safetensors" });
    expect((await refusal(SafetensorsReader.openFolder(folder))).message).toContain(
      "tensor first is not in b.safetensors",
    );
    writeSafetensors(join(folder, "b.safetensors"), tensors);
    index(folder, { first: "a.safetensors", second: "b.safetensors" });
    expect((await refusal(SafetensorsReader.openFolder(folder))).message).toMatch(/tensor first is also in .*a.safe/);
  });

  it("when it is no index", async () => {
    const folder = temporaryFolder();
    index(folder, ["first"]);
    expect((await refusal(SafetensorsReader.openFolder(folder))).code).toBe("corrupt_safetensors");
  });
});

function header(entries: Record<string, unknown>): Buffer {
  return withHeader(JSON.stringify(entries), eight);
}

async function open(bytes: Buffer): Promise<SafetensorsReader> {
  const file = join(temporaryFolder(), "model.safetensors");
  writeFileSync(file, bytes);
  return SafetensorsReader.openFiles([file]);
}

async function refusal(work: Promise<unknown>): Promise<ToastError> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ToastError)) throw new Error("expected a ToastError", { cause: error });
  return error;
}

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof ToastError) return error.code;
  }
  return "none";
}
