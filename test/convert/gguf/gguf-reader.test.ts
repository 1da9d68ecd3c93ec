import { cpSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { GgufReader } from "../../../src/convert/gguf/gguf-reader.js";
import { writeGguf } from "../../../src/convert/gguf/gguf-writer.js";
import { ToastError } from "../../../src/errors.js";
import { temporaryFolder } from "../tiny-folder.js";
import { floatTensor, key, type SpelledFile, spell, tensorInfo, text, u32, u64 } from "./gguf-file.js";

const here = new URL("./", import.meta.url).pathname;

async function refusal(opened: Promise<GgufReader>): Promise<ToastError> {
  const error = await opened.then(
    (reader) => reader.close().then(() => new Error("it was read")),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ToastError)) throw error;
  return error;
}

async function metadataOf(file: SpelledFile) {
  const reader = await GgufReader.open([spell(file)]);
  await reader.close();
  return reader.metadata;
}

describe("the metadata of a GGUF file", () => {
  it("keeps values of every type", async () => {
    const negative = (bytes: number) => Buffer.alloc(bytes, 0xff);
    const half = Buffer.alloc(8);
    half.writeDoubleLE(0.1);
    const single = Buffer.alloc(4);
    single.writeFloatLE(1.5);
    const metadata = await metadataOf({
      keys: [
        key("u8", 0, Buffer.of(200)),
        key("i8", 1, negative(1)),
        key("u16", 2, Buffer.of(1, 2)),
        key("i16", 3, negative(2)),
        key("u32", 4, u32(0xffffffff)),
        key("i32", 5, negative(4)),
        key("f32", 6, single),
        key("yes", 7, Buffer.of(1)),
        key("text", 8, text("naïve ▁")),
        key("u64", 10, u64(2n ** 40n)),
        key("i64", 11, negative(8)),
        key("f64", 12, half),
        key("list", 9, u32(8), u64(2n), text("\uFEFFa"), text("")),
        key("flags", 9, u32(7), u64(2n), Buffer.of(0, 1)),
      ],
    });
    const integers = ["u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"].map((name) =>
      metadata.needed(name, "integer"),
    );
    expect(integers).toEqual([200, -1, 513, -1, 2 ** 32 - 1, -1, 2 ** 40, -1]);
    expect(metadata.needed("f32", "float")).toBe(1.5);
    expect(metadata.needed("f64", "float")).toBe(0.1);
    expect(metadata.needed("yes", "boolean")).toBe(true);
    expect(metadata.needed("text", "string")).toBe("naïve ▁");
    // A byte order mark at the start is part of the text: there are tokens that begin with one.
    expect(metadata.needed("list", "strings")).toEqual(["\uFEFFa", ""]);
    expect(metadata.needed("flags", "booleans")).toEqual([false, true]);
  });

  it("is asked for by kind", async () => {
    const metadata = await metadataOf({ keys: [key("a.count", 4, u32(1))] });
    expect(() => metadata.needed("a.count", "string")).toThrow(/a\.count has to be a text, not an integer/);
    expect(() => metadata.needed("b.count", "integer")).toThrow(/b\.count is missing/);
    expect(metadata.optional("b.count", "integer")).toBeUndefined();
  });

  it("may be longer than what is read at a time", async () => {
    const tokens = Array.from({ length: 200_000 }, (_, id) => `token number ${id}`);
    const path = join(temporaryFolder(), "long.gguf");
    const long = "x".repeat(3 << 20);
    await writeGguf(
      path,
      new Map([
        ["before", { kind: "string", value: long } as const],
        ["tokens", { kind: "strings", value: tokens } as const],
      ]),
      [floatTensor("a", [2], Float32Array.of(1, 2))],
    );
    const reader = await GgufReader.open([path]);
    expect(reader.metadata.needed("tokens", "strings")).toEqual(tokens);
    expect(reader.metadata.needed("before", "string")).toBe(long);
    expect(await reader.readFloats(reader.expect("a", [2]))).toEqual(Float32Array.of(1, 2));
    await reader.close();
  });
});

const two = [tensorInfo("a", [8n], 0, 0n), tensorInfo("b", [8n], 0, 32n)];
const lies: readonly (readonly [what: string, file: SpelledFile, sentence: RegExp])[] = [
  ["another magic number", { magic: "GGML" }, /does not begin with GGUF/],
  ["version 1", { version: u32(1) }, /version 1; 2 and 3 are read/],
  ["a version to come", { version: u32(4) }, /version 4; 2 and 3 are read/],
  ["the other byte order", { version: Buffer.of(0, 0, 0, 3) }, /big-endian/],
  [
    "more tensors than a file can hold",
    { tensorCount: 2n ** 63n },
    /claims 9223372036854776000 tensors; the limit is 65536/,
  ],
  ["more tensors than it has", { tensorCount: 3n, tensors: two, data: Buffer.alloc(64) }, /tensor 2 has no name/],
  [
    "more keys than there is room for",
    { keyCount: 60_000n },
    /claims 60000 keys; the limit is 65536, and it has room for/,
  ],
  [
    "a list longer than the file",
    { keys: [key("a", 9, u32(8), u64(1n << 40n))] },
    /claims 1099511627776 elements of a/,
  ],
  ["a text longer than the file", { keys: [key("a", 8, u64(1n << 27n))] }, /ends after \d+ bytes, inside a/],
  ["a text of 2^64 bytes", { keys: [key("a", 8, u64(2n ** 64n - 1n))] }, /claims 18446744073709552000 bytes/],
  ["a list of lists", { keys: [key("a", 9, u32(9), u64(0n))] }, /key a is a list of lists/],
  ["a value of an unknown type", { keys: [key("a", 13, u32(0))] }, /key a is of the unknown type 13/],
  ["a list of an unknown type", { keys: [key("a", 9, u32(77), u64(0n))] }, /a list of the unknown type 77/],
  ["a key twice", { keys: [key("a", 4, u32(1)), key("a", 4, u32(2))] }, /key a stands there twice/],
  ["a key without a name", { keys: [key("", 4, u32(1))] }, /key 0 has no name/],
  ["a text that is no UTF-8", { keys: [key("a", 8, text(Buffer.of(0xc3, 0x28)))] }, /a is no valid UTF-8/],
  ["an alignment of 24", { keys: [key("general.alignment", 4, u32(24))] }, /alignment is 24, no power of two/],
  [
    "a tensor twice",
    { tensors: [two[0] ?? Buffer.of(), two[0] ?? Buffer.of()], data: Buffer.alloc(64) },
    /tensor a stands there twice/,
  ],
  [
    "tensors that overlap",
    { tensors: [tensorInfo("a", [9n], 0, 0n), tensorInfo("b", [8n], 0, 32n)], data: Buffer.alloc(64) },
    /tensor b overlaps tensor a/,
  ],
  [
    "a tensor that begins anywhere",
    { tensors: [tensorInfo("a", [8n], 0, 4n)], data: Buffer.alloc(64) },
    /byte 4, no multiple of 32/,
  ],
  [
    "a tensor beyond the end",
    { tensors: [tensorInfo("a", [8n], 0, 64n)], data: Buffer.alloc(64) },
    /tensor a ends at byte \d+, but the file after/,
  ],
  [
    "an offset of 2^64",
    { tensors: [tensorInfo("a", [8n], 0, 2n ** 64n - 32n)], data: Buffer.alloc(64) },
    /cannot lie in its \d+ bytes/,
  ],
  [
    "dimensions whose product is no number",
    { tensors: [tensorInfo("a", [2n ** 32n, 2n ** 32n], 0, 0n)], data: Buffer.alloc(64) },
    /cannot lie in its \d+ bytes/,
  ],
  [
    "dimensions whose product overflows to 8",
    { tensors: [tensorInfo("a", [2n ** 61n + 1n, 8n], 0, 0n)], data: Buffer.alloc(64) },
    /cannot lie in its \d+ bytes/,
  ],
  [
    "a dimension of 0",
    { tensors: [tensorInfo("a", [0n, 8n], 0, 0n)], data: Buffer.alloc(64) },
    /cannot lie in its \d+ bytes/,
  ],
  ["no dimension", { tensors: [tensorInfo("a", [], 0, 0n)], data: Buffer.alloc(64) }, /tensor a has 0 dimensions/],
  [
    "five dimensions",
    { tensors: [tensorInfo("a", [1n, 1n, 1n, 1n, 1n], 0, 0n)], data: Buffer.alloc(64) },
    /has 5 dimensions/,
  ],
  [
    "rows that are no whole blocks",
    { tensors: [tensorInfo("a", [48n, 2n], 2, 0n)], data: Buffer.alloc(64) },
    /rows of 48; Q4_0 needs a multiple of 32/,
  ],
  [
    "a tensor without a name",
    { tensors: [tensorInfo("", [8n], 0, 0n)], data: Buffer.alloc(64) },
    /tensor 0 has no name/,
  ],
  [
    "a name of a page",
    { tensors: [tensorInfo("a".repeat(65), [8n], 0, 0n)], data: Buffer.alloc(64) },
    /claims 65 bytes, the limit is 64/,
  ],
];

describe("a GGUF file that lies", () => {
  it.each(lies)("is refused with a sentence: %s", async (_, file, sentence) => {
    const error = await refusal(GgufReader.open([spell(file)]));
    expect(error.code).toBe("corrupt_gguf");
    expect(error.message).toMatch(/spelled\.gguf is damaged or no GGUF file: /);
    expect(error.message).toMatch(sentence);
  });

  it.each([
    [16, /tensor a is IQ2_XXS; supported are F32, F16, BF16, Q4_0/],
    [777, /of the unknown type 777; supported are/],
  ])("or names a type that is not read (%i)", async (type, sentence) => {
    const tensors = [tensorInfo("a", [256n], type, 0n)];
    const error = await refusal(GgufReader.open([spell({ tensors, data: Buffer.alloc(1024) })]));
    expect(error.code).toBe("misshapen_tensor");
    expect(error.message).toMatch(sentence);
  });

  it("is refused wherever it was cut off", async () => {
    const whole = readFileSync(`${here}blocks.gguf`);
    const path = join(temporaryFolder(), "cut.gguf");
    // The padding behind the last tensor is nobody's.
    for (let length = 0; length < whole.length - 32; length += length < 1500 ? 7 : 997) {
      writeFileSync(path, whole.subarray(0, length));
      expect((await refusal(GgufReader.open([path]))).code).toBe("corrupt_gguf");
    }
  });

  it("or is cut off while it is read", async () => {
    const path = join(temporaryFolder(), "shrinking.gguf");
    cpSync(`${here}blocks.gguf`, path);
    const reader = await GgufReader.open([path]);
    truncateSync(path, 3000);
    await expect(reader.readFloats(reader.expect("IQ4_XS", [256, 12]))).rejects.toThrow(/it ends inside tensor IQ4_XS/);
    await reader.close();
  });

  it("does not stop the next from being read", async () => {
    const reader = await GgufReader.open([spell({ tensors: two, data: Buffer.alloc(64) })]);
    expect([...reader.tensors].map(({ name, bytes }) => [name, bytes])).toEqual([
      ["a", 32],
      ["b", 32],
    ]);
    await reader.close();
  });
});

describe("weights that are no numbers", () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("are refused: %d", async (bad) => {
    const path = join(temporaryFolder(), "bad.gguf");
    const values = new Float32Array(100).fill(1);
    values[70] = bad;
    await writeGguf(path, new Map(), [floatTensor("a", [10, 10], values)]);
    const reader = await GgufReader.open([path]);
    await expect(reader.readFloats(reader.expect("a", [10, 10]))).rejects.toThrow(/tensor a holds .* at element 70/);
    await reader.close();
  });
});

describe("parts of a split model", () => {
  const parts = ["factors-00001-of-00002.gguf", "factors-00002-of-00002.gguf"].map((name) => `${here}${name}`);

  it("are read as one", async () => {
    const reader = await GgufReader.open(parts);
    expect([...reader.tensors]).toHaveLength(36);
    expect(reader.metadata.needed("general.name", "string")).toBe("factors");
    await reader.close();
  });

  it.each([
    ["one of them alone", parts.slice(0, 1), /calls itself part 1 of 2, and was taken for part 1 of 1/],
    ["in another order", parts.toReversed(), /calls itself part 2 of 2, and was taken for part 1 of 2/],
    ["with a model's own file", [parts[0] ?? "", `${here}tied.gguf`], /tied\.gguf/],
  ])("are refused %s", async (_, files, sentence) => {
    const error = await refusal(GgufReader.open(files));
    expect(error.code).toBe("corrupt_gguf");
    expect(error.message).toMatch(sentence);
  });
});
