import { describe, expect, it } from "vitest";
import { z } from "zod";
import { byteVocabulary, schemaTakes, TestGrammars } from "../grammar-text.js";

// What zod writes of its types is what the AI SDK and its kin send.

const bytes = new TestGrammars(byteVocabulary());

const types: Readonly<Record<string, readonly [type: z.ZodType, good: unknown, bad: unknown]>> = {
  email: [z.email(), "jane.roe@example.com", "jane"],
  uuid: [z.uuid(), "9b2f3c7a-1111-4abc-8def-001122334455", "9b2f3c7a"],
  uuidv4: [z.uuidv4(), "9b2f3c7a-1111-4abc-8def-001122334455", "9b2f3c7a-1111-5abc-8def-001122334455"],
  url: [z.url(), "https://example.com/x", "no address"],
  ipv4: [z.ipv4(), "192.0.2.1", "192.0.2.256"],
  ipv6: [z.ipv6(), "2001:db8::1", "2001:db8"],
  "iso.date": [z.iso.date(), "2024-02-29", "2024-02-30"],
  "iso.time": [z.iso.time(), "12:34:56", "25:00:00"],
  "iso.datetime": [z.iso.datetime(), "2024-05-30T23:15:00Z", "2024-05-30"],
  "iso.duration": [z.iso.duration(), "P3Y6M4DT12H30M5S", "3Y"],
  base64: [z.base64(), "SGVsbG8=", "SGVsbG8*"],
  base64url: [z.base64url(), "SGVsbG8", "SGVs/G8"],
  emoji: [z.emoji(), "😀", "a"],
  nanoid: [z.nanoid(), "V1StGXR8_Z5jdHi6B-myT", "short"],
  cuid2: [z.cuid2(), "tz4a98xxat96iws9zmbrgj3a", "TZ"],
  ulid: [z.ulid(), "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3"],
  hostname: [z.hostname(), "example.com", "-a.example"],
  "starts and ends": [z.string().startsWith("a").endsWith("z"), "a to z", "a to y"],
  lengths: [z.string().min(2).max(4), "abc", "a"],
  "a pattern with a length": [
    z
      .string()
      .regex(/^[a-z]+$/)
      .max(5),
    "abcde",
    "abcdef",
  ],
  int: [z.int(), 9_007_199_254_740_991, 1.5],
  int32: [z.int32(), 2_147_483_647, 2_147_483_648],
  "a multiple": [z.number().multipleOf(5), 15, 16],
  between: [z.number().gt(0).lte(1), 0.5, 0],
  enum: [z.enum(["a", "b"]), "b", "c"],
  literal: [z.literal(["x", 3, null]), 3, "y"],
  nullable: [z.string().max(3).nullable(), null, 3],
  tuple: [z.tuple([z.string(), z.int()]), ["a", 1], ["a", "b"]],
  "a tuple with a rest": [z.tuple([z.string()]).rest(z.int()), ["a", 1, 2], ["a", "b"]],
  record: [z.record(z.string(), z.int()), { a: 1 }, { a: "b" }],
  "optional members": [z.object({ a: z.string().max(2), b: z.int().optional() }), { a: "x" }, { b: 1 }],
  defaults: [z.object({ a: z.string().default("x") }), { a: "y" }, { a: 1 }],
  "a union": [z.union([z.int(), z.string().max(2)]), "ab", "abc"],
  "a tagged union": [
    z.discriminatedUnion("kind", [z.object({ kind: z.literal("a"), n: z.int() }), z.object({ kind: z.literal("b") })]),
    { kind: "a", n: 1 },
    { kind: "a", n: "x" },
  ],
  "an intersection": [z.intersection(z.object({ a: z.int() }), z.object({ b: z.int() })), { a: 1, b: 2 }, { a: 1 }],
};

describe("types of zod are served as zod writes them:", () => {
  it.each(Object.entries(types))("%s", (_, [type, good, bad]) => {
    // The check itself: what a type takes is known to zod.
    expect([type.safeParse(good).success, type.safeParse(bad).success]).toEqual([true, false]);
    const schema = z.toJSONSchema(type, { io: "output" });
    const isTaken = schemaTakes(bytes, schema);
    expect([isTaken(JSON.stringify(good)), isTaken(JSON.stringify(bad))]).toEqual([true, false]);
  });

  it.each(["draft-7", "draft-2020-12", "draft-4"] as const)("in %s", (target) => {
    const schema = z.toJSONSchema(z.object({ at: z.tuple([z.int().positive(), z.iso.date()]) }), { target });
    const isTaken = schemaTakes(bytes, schema);
    expect([isTaken('{"at":[1,"2024-01-31"]}'), isTaken('{"at":[0,"2024-01-31"]}')]).toEqual([true, false]);
  });
});
