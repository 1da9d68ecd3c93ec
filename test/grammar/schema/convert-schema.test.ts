import { Ajv2020 } from "ajv/dist/2020.js";
import { beforeAll, describe, expect, it } from "vitest";
import { ToastError } from "../../../src/errors.js";
import { randomText, TestGrammars, tinyVocabulary } from "../grammar-text.js";

let grammars: TestGrammars;
beforeAll(async () => {
  grammars = new TestGrammars(await tinyVocabulary());
});

const ajv = new Ajv2020({ strict: false, validateFormats: false });

const tree = {
  $ref: "#/$defs/node",
  $defs: {
    node: {
      type: "object",
      properties: {
        value: { type: "integer" },
        children: { type: "array", items: { $ref: "#/$defs/node" }, maxItems: 2 },
      },
      required: ["value"],
    },
  },
};

const shape = (kind: string, extra: object) => ({
  type: "object",
  properties: { kind: { const: kind }, ...extra },
  required: ["kind", ...Object.keys(extra)],
  additionalProperties: false,
});

const schemas: readonly (readonly [what: string, schema: object])[] = [
  ["any object", { type: "object" }],
  ["a lower bound", { type: "integer", minimum: 5 }],
  ["bounds around zero", { type: "integer", minimum: -17, maximum: 123 }],
  ["open bounds", { type: "integer", exclusiveMinimum: -3, exclusiveMaximum: 2 }],
  ["a share", { type: "number", minimum: 0, maximum: 1 }],
  ["an open interval between decimals", { type: "number", exclusiveMinimum: 0, exclusiveMaximum: 0.5 }],
  ["an upper bound below zero", { type: "number", maximum: -0.25 }],
  ["any number", { type: "number" }],
  ["a length", { type: "string", minLength: 2, maxLength: 5 }],
  ["a least length", { type: "string", minLength: 3 }],
  ["a pattern that takes quotes and backslashes", { type: "string", pattern: "^[^a]{1,8}$" }],
  ["a pattern without anchors", { type: "string", pattern: "[aeiou]" }],
  ["an e-mail address by pattern", { type: "string", pattern: "^[\\w.]{1,9}@[a-z]{1,9}\\.(com|org)$" }],
  ["values of every type", { enum: ["x", 1, null, { a: [1, 2] }, 'é😀\n"', true] }],
  ["several types", { type: ["string", "null", "integer"] }],
  ["an array with counts", { type: "array", items: { type: "boolean" }, minItems: 2, maxItems: 3 }],
  ["a tuple", { type: "array", prefixItems: [{ type: "string" }, { type: "boolean" }], items: false }],
  [
    "optional properties",
    {
      type: "object",
      properties: { a: { type: "string" }, b: { type: "integer" }, c: { type: "boolean" } },
      required: ["b"],
    },
  ],
  [
    "a required property that is not described",
    { type: "object", required: ["z"], additionalProperties: { type: "integer" } },
  ],
  [
    "a record",
    { type: "object", additionalProperties: { type: "integer" }, propertyNames: { pattern: "^[a-z]{1,4}$" } },
  ],
  ["a tree", tree],
  [
    "alternatives told apart by a constant",
    { oneOf: [shape("a", { x: { type: "integer" } }), shape("b", { y: { type: "null" } })] },
  ],
  [
    "all of two",
    {
      allOf: [
        { type: "object", properties: { a: { type: "boolean" } }, required: ["a"] },
        { properties: { b: { type: "integer" } }, required: ["b"] },
      ],
    },
  ],
  [
    "one of two required",
    {
      type: "object",
      properties: { a: { type: "null" }, b: { type: "null" } },
      anyOf: [{ required: ["a"] }, { required: ["b"] }],
    },
  ],
];

describe("a JSON Schema as a grammar", () => {
  it.each(schemas)("lets through texts that parse and are valid: %s", (_, schema) => {
    const validate = ajv.compile(schema);
    const matcher = grammars.compile({ kind: "jsonSchema", schema: JSON.stringify(schema), param: "schema" });
    let complete = 0;
    for (let seed = 0; seed < 12; seed++) {
      const text = randomText(grammars, matcher(), seed);
      if (text === null) continue;
      complete++;
      const value: unknown = JSON.parse(text);
      expect(validate(value), `${text} ${JSON.stringify(validate.errors)}`).toBe(true);
    }
    expect(complete).toBeGreaterThan(2);
  });

  const number = (schema: object) => {
    const matcher = grammars.compile({ kind: "jsonSchema", schema: JSON.stringify(schema), param: "schema" });
    return (text: string): boolean => {
      const one = matcher();
      for (const byte of new TextEncoder().encode(text)) {
        // Byte tokens begin at id 3 in this vocabulary.
        if (!grammars.allowed(one).includes(byte + 3)) return false;
        one.append(byte + 3);
      }
      return one.isComplete || grammars.allowed(one).includes(2);
    };
  };

  it("takes exactly the integers within bounds", () => {
    const takes = number({ type: "integer", minimum: -105, maximum: 1200 });
    for (let value = -300; value <= 1500; value += 7)
      expect(takes(String(value)), String(value)).toBe(value >= -105 && value <= 1200);
    for (const edge of [-106, -105, -100, -99, -1, 0, 9, 10, 999, 1000, 1199, 1200, 1201]) {
      expect(takes(String(edge)), String(edge)).toBe(edge >= -105 && edge <= 1200);
    }
    for (const misspelt of ["-0", "007", "1e2", "+1", ""]) expect(takes(misspelt)).toBe(false);
  });

  it("takes exactly the numbers of two decimals within bounds", () => {
    const takes = number({ type: "number", minimum: -0.5, exclusiveMaximum: 1.25 });
    for (let hundredths = -120; hundredths <= 220; hundredths++) {
      const text = (hundredths / 100).toFixed(2);
      if (text.startsWith("-0.00")) continue;
      expect(takes(text), text).toBe(hundredths >= -50 && hundredths < 125);
    }
  });

  it.each([
    ["a reference to itself", { $ref: "#" }, "No finite text"],
    [
      "an object that needs itself",
      { type: "object", properties: { c: { $ref: "#" } }, required: ["c"] },
      "No finite text",
    ],
    ["bounds that cross", { type: "integer", minimum: 5, maximum: 1 }, "No finite text"],
    ["what nothing fits", false, "No finite text"],
    ["not", { not: { type: "string" } }, "'not', which is not supported"],
    ["unique items", { type: "array", uniqueItems: true }, "'uniqueItems'"],
    ["unique objects", { type: "array", items: { type: "object" }, uniqueItems: true }, "'uniqueItems'"],
    ["multiples of what is no number above zero", { type: "number", multipleOf: 0 }, "'multipleOf'"],
    ["multiples beyond measure", { type: "integer", multipleOf: 1234567 }, "'multipleOf'"],
    [
      "a least number of free names",
      { type: "object", additionalProperties: { type: "null" }, minProperties: 3 },
      "'minProperties'",
    ],
    ["alternatives that overlap", { oneOf: [{ type: "number" }, { type: "integer" }] }, "'oneOf'"],
    ["a type that JSON lacks", { type: "float" }, '"float"'],
    ["a reference to elsewhere", { $ref: "https://example.org/schema" }, "outside the schema"],
    ["a reference to nothing", { $ref: "#/$defs/missing" }, "does not have"],
    ["lookbehind", { type: "string", pattern: "(?<=a)b" }, "lookbehind"],
    ["a length that a pattern never has", { type: "string", pattern: "^a{4}$", maxLength: 3 }, "No finite text"],
    ["references that multiply", multiplying(30), "too large"],
    ["nesting without measure", nested(200), "more than 60 deep"],
  ] as const)("is refused with a sentence: %s", (_, schema, words) => {
    const make = () =>
      grammars.compile({ kind: "jsonSchema", schema: JSON.stringify(schema), param: "response_format" });
    expect(make).toThrow(ToastError);
    expect(make).toThrow(words);
    expect(paramOf(make)).toBe("response_format");
  });
});

function paramOf(make: () => unknown): string | null {
  try {
    make();
  } catch (error) {
    return error instanceof ToastError ? error.param : null;
  }
  return null;
}

function nested(depth: number): object {
  let schema: object = { type: "string" };
  for (let level = 0; level < depth; level++) schema = { type: "array", items: schema };
  return schema;
}

function multiplying(levels: number): object {
  const $defs: Record<string, object> = { [`d${levels}`]: { required: ["a"] } };
  for (let level = 0; level < levels; level++) {
    const next = { $ref: `#/$defs/d${level + 1}` };
    $defs[`d${level}`] = { type: "object", anyOf: [next, next] };
  }
  return { $ref: "#/$defs/d0", $defs };
}
