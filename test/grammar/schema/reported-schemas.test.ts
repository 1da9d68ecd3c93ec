import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { describe, expect, it } from "vitest";
import { byteVocabulary, schemaTakes, TestGrammars, takes as textsOf } from "../grammar-text.js";

const bytes = new TestGrammars(byteVocabulary());
const takes = (schema: object | boolean | string) => schemaTakes(bytes, schema);
const ajv = new Ajv2020({ strict: false });
// ajv-formats is CommonJS: its function is the default export of the default export to types, and itself at run time.
(addFormats as unknown as (ajv: Ajv2020) => void)(ajv);

describe("a format is as its standard has it", () => {
  const good: Readonly<Record<string, readonly string[]>> = {
    date: ["2024-01-31", "2024-02-29", "2000-02-29", "0001-12-31"],
    "date-time": [
      "2024-05-30T23:15:00+02:00",
      "2024-05-30t23:15:00z",
      "1990-12-31T23:59:60Z",
      "1937-01-01T12:00:27.87+00:20",
      "1985-04-12T23:20:50.5200000001Z",
    ],
    time: ["23:15:00-23:59", "00:00:00.1Z"],
    duration: ["P3Y6M4DT12H30M5S", "P1W", "PT0S", "P1DT12H", "PT1H29S"],
    email: ["Jane.Roe@Example.COM", "o'neil+tag/x=1@sub.example.co", "a@b.io"],
    hostname: ["Example.COM", "xn--bcher-kva.example", "localhost"],
    ipv4: ["255.255.255.255", "0.0.0.0"],
    ipv6: ["::", "::1", "2001:DB8::8a2e:370:7334", "fe80:1:2:3:4:5:6:7", "::ffff:192.0.2.128", "1:2:3:4:5:6:7::"],
    uri: [
      "https://shop.example.com:8443/list?page=2&sort=up#top",
      "mailto:John.Doe@example.com",
      "urn:oasis:names:specification:docbook",
      "http://[2001:db8::7]/c=GB?objectClass?one",
      "ftp://user:pw@ftp.example.org/%7Efile;type=a",
    ],
    uuid: [
      "9B2F3C7A-1111-4ABC-8DEF-001122334455",
      "00000000-0000-0000-0000-000000000000",
      "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
    ],
    "json-pointer": ["", "/a~1b/0"],
    "uri-template": ["/users/{id}{?page,size*}"],
  };
  const bad: Readonly<Record<string, readonly string[]>> = {
    date: ["2024-02-30", "2023-02-29", "1900-02-29", "2024-04-31", "2024-13-01", "24-01-01"],
    "date-time": ["2024-05-30T24:00:00Z", "2024-05-30T23:15:00", "2024-05-30T23:15:00+24:00", "2024-05-30T12:00:60Z"],
    duration: ["P", "PT", "P1", "P1DT", "1D"],
    email: ["a@b@c.de", ".a@b.de", "a b@c.de", "a@-b.de"],
    hostname: ["-a.example", `${"a".repeat(64)}.example`, `${"a.".repeat(127)}a`],
    ipv4: ["256.1.1.1", "1.2.3", "01.2.3.4"],
    ipv6: ["1:2:3:4:5:6:7", "::1::", "12345::", "1:2:3:4:5:6:7:8:9"],
    uri: ["//example.org", "http://a b", "http://[::1", "1http://x"],
    uuid: ["9b2f3c7a11114abc8def001122334455", "9b2f3c7a-1111-4abc-8def-00112233445g"],
  };

  it.each(Object.entries(good))("%s", (format, values) => {
    const validate = ajv.compile({ type: "string", format });
    const isTaken = takes({ type: "string", format });
    for (const value of values) {
      expect(validate(value), value).toBe(true);
      expect(isTaken(JSON.stringify(value)), value).toBe(true);
    }
    for (const value of bad[format] ?? []) {
      expect(validate(value), value).toBe(false);
      expect(isTaken(JSON.stringify(value)), value).toBe(false);
    }
  });

  it("where it is not kept, it is refused by name", () => {
    expect(() => takes({ type: "string", format: "regex" })).toThrow("'format' 'regex', which is not supported");
    expect(takes({ type: "string", format: "file-path" })('"any\\u0020thing"')).toBe(true);
  });
});

describe("a bounded string", () => {
  it("holds every escape, each counted as one character", () => {
    const isTaken = takes({ type: "string", maxLength: 20 });
    for (const value of ["C:\\notes.txt", 'say "x"', "a\nb\tc", "\u0001\u001f", "é😀".repeat(10)])
      expect(isTaken(JSON.stringify(value)), value).toBe(true);
    expect(isTaken('"\\u00e9\\ud83d\\ude00\\/"')).toBe(true);
    expect(isTaken(JSON.stringify("\\".repeat(21)))).toBe(false);
    expect(isTaken(JSON.stringify("😀".repeat(21)))).toBe(false);
    expect(isTaken('"\\ud83d"')).toBe(false);
  });
});

describe("numbers", () => {
  it("have as many digits as they need", () => {
    const id = "2512292042121000001";
    expect(takes({ type: "integer" })(id)).toBe(true);
    for (const type of ["number", "integer"])
      for (const digits of [id, "-12345678901234567890123456789012345678901234567890"])
        expect(takes({ type })(digits)).toBe(true);
    expect(takes({ type: "number" })("0.12345678901234567890123456789")).toBe(true);
    expect(takes({ type: "number", minimum: 0, maximum: 1 })("0.000000000000000000123")).toBe(true);
    expect(textsOf(bytes, { kind: "jsonObject", param: "x" })(`{"id":${id}}`)).toBe(true);
  });

  it("keep to bounds of 64 bits, to the last digit", () => {
    const isTaken = takes('{"type":"integer","minimum":-9223372036854775808,"maximum":9223372036854775807}');
    expect([isTaken("9223372036854775807"), isTaken("-9223372036854775808")]).toEqual([true, true]);
    expect([isTaken("9223372036854775808"), isTaken("-9223372036854775809")]).toEqual([false, false]);
    const byFormat = takes({ type: "integer", format: "int32" });
    expect([byFormat("2147483647"), byFormat("2147483648")]).toEqual([true, false]);
  });

  it("keep to exclusive bounds in the words of draft 4", () => {
    const isTaken = takes({ type: "integer", minimum: 5, exclusiveMinimum: true, maximum: 7, exclusiveMaximum: false });
    expect(["5", "6", "7", "8"].map(isTaken)).toEqual([false, true, true, false]);
  });

  it("are multiples of what they have to be", () => {
    const cents = takes({ type: "number", multipleOf: 0.01 });
    expect(["1.25", "-3", "0.30", "7.125", "1.2500"].map(cents)).toEqual([true, true, true, false, true]);
    const weeks = takes({ type: "integer", multipleOf: 7, minimum: 0 });
    expect(["0", "7", "8", "700000000000000000000"].map(weeks)).toEqual([true, true, false, true]);
  });
});

describe("a constant", () => {
  it.each([
    ["9007199254740993", "9007199254740992"],
    ["12345678901234567890", "12345678901234567000"],
    ["1e400", "null"],
    ["1.0", "2.0"],
  ])("is written as it stands in the schema: %s", (written, other) => {
    for (const schema of [`{"enum":[${written}]}`, `{"const":${written}}`]) {
      const isTaken = takes(schema);
      expect([isTaken(written), isTaken(other)]).toEqual([true, false]);
    }
  });

  it("is left out where it does not keep to what stands beside it", () => {
    const isTaken = takes({ enum: ["a", "bcd", 3, 30], maxLength: 2, minimum: 10 });
    expect(['"a"', '"bcd"', "3", "30"].map(isTaken)).toEqual([true, false, false, true]);
  });
});

it("properties come in the schema's order, names of digits included", () => {
  const isTaken = takes(
    '{"type":"object","properties":{"b":{"type":"null"},"1":{"type":"null"},"a":{"type":"null"}},"required":["b","1","a"]}',
  );
  expect(isTaken('{"b":null,"1":null,"a":null}')).toBe(true);
  expect(isTaken('{"1":null,"b":null,"a":null}')).toBe(false);
});

it("any JSON blanks are taken between signs", () => {
  const isTaken = takes({
    type: "object",
    properties: { a: { type: "array", items: { type: "integer" } } },
    required: ["a"],
  });
  for (const text of ['{"a":[1,2]}', '{ "a" : [ 1 , 2 ] }', '{\n\t"a": [\r\n1, 2\n]\n}', '{"a":[]}'])
    expect(isTaken(text)).toBe(true);
});

describe("ordinary schemas are served", () => {
  const uuid4 = "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
  const cat = {
    type: "object",
    properties: { kind: { const: "cat", default: "cat", type: "string" }, lives: { type: "integer" } },
    required: ["lives"],
  };
  const dog = {
    type: "object",
    properties: { kind: { const: "dog", default: "dog", type: "string" }, tricks: { type: "integer" } },
    required: ["tricks"],
  };
  const cases: readonly (readonly [what: string, schema: object, good: readonly string[], bad: readonly string[]])[] = [
    [
      "format with pattern, as zod 4 writes them",
      { type: "string", format: "uuid", pattern: uuid4 },
      ['"9b2f3c7a-1111-4abc-8def-001122334455"'],
      ['"9b2f3c7a-1111-5abc-8def-001122334455"'],
    ],
    [
      "a format with lengths, as pydantic writes URLs",
      { type: "string", format: "uri", minLength: 1, maxLength: 2083 },
      ['"https://example.com/x"', `"https://example.com/${"x".repeat(2_063)}"`],
      ['""', `"https://example.com/${"x".repeat(2_064)}"`],
    ],
    ["a pattern with lengths", { type: "string", pattern: "^[a-z]+$", maxLength: 5 }, ['"abcde"'], ['"abcdef"', '"A"']],
    [
      "two patterns",
      { type: "string", allOf: [{ pattern: "^a.*" }, { pattern: ".*b$" }] },
      ['"ab"', '"a-b"'],
      ['"b"', '"a"'],
    ],
    [
      "alternatives with anchors, as zod writes base64",
      { type: "string", pattern: "^$|^(?:[A-Z]{2})+$" },
      ['""', '"AB"'],
      ['"A"'],
    ],
    [
      "lookahead, as zod writes durations and host names",
      { type: "string", pattern: "^(?=.{1,5}$)[a-z]+(?:\\.[a-z]+)*$" },
      ['"a.b"', '"abcde"'],
      ['"abcdef"', '"a."'],
    ],
    [
      "classes by property, as zod writes emoji",
      { type: "string", pattern: "^\\p{Extended_Pictographic}+$" },
      ['"😀"'],
      ['"a"'],
    ],
    [
      "unions whose tags have defaults, as pydantic writes them",
      { oneOf: [cat, dog], discriminator: { propertyName: "kind" } },
      ['{"kind":"cat","lives":9}', '{"lives":9}', '{"tricks":1}'],
      ['{"kind":"dog","lives":9}', "{}"],
    ],
    [
      "sets of strings",
      { type: "array", items: { type: "string" }, uniqueItems: true },
      ['["a","b"]', "[]"],
      ['["a","a"]', '["a", "\\u0061"]'],
    ],
    [
      "sets of numbers",
      { type: "array", items: { type: "number" }, uniqueItems: true },
      ["[1,12,10]"],
      ["[1,1.0]", "[10,1e1]"],
    ],
    [
      "sets of constants",
      { type: "array", items: { enum: ["x", "y"] }, uniqueItems: true, minItems: 2 },
      ['["y","x"]'],
      ['["x","x"]', '["x"]'],
    ],
    [
      "tuples of draft 7",
      { type: "array", items: [{ type: "string" }, { type: "null" }], additionalItems: false },
      ['["a",null]'],
      ['["a"]', '["a",null,1]'],
    ],
    ["$anchor", { $defs: { n: { $anchor: "node", type: "integer" } }, $ref: "#node" }, ["1"], ['"1"']],
    [
      "relative $id",
      { $id: "https://example.org/s.json", $defs: { n: { $id: "item.json", type: "integer" } }, $ref: "item.json" },
      ["1"],
      ["null"],
    ],
    [
      "keywords of null",
      {
        type: "object",
        properties: { q: { type: "integer", minimum: null, enum: null } },
        required: null,
        additionalProperties: false,
      },
      ['{"q":3}', "{}"],
      ['{"q":"3"}'],
    ],
    ["OpenAPI's nullable", { type: "string", nullable: true, maxLength: 1 }, ['"a"', "null"], ["1"]],
    ["z.never()", { type: "object", properties: { a: { not: {} }, b: { type: "null" } } }, ['{"b":null}'], ['{"a":1}']],
    [
      "records with patterns for keys",
      { type: "object", patternProperties: { "^x": { type: "integer" } }, additionalProperties: false },
      ['{"x1":1,"x":2}', "{}"],
      ['{"y":1}', '{"x":"1"}'],
    ],
    [
      "counts of properties",
      { type: "object", properties: { a: { type: "null" }, b: { type: "null" } }, minProperties: 1, maxProperties: 1 },
      ['{"a":null}', '{"b":null}'],
      ["{}", '{"a":null,"b":null}'],
    ],
    [
      "other members beside named ones, where the schema says which",
      { type: "object", properties: { a: { type: "null" } }, additionalProperties: { type: "integer" } },
      ['{"a":null,"b":1}', '{"b":1}'],
      ['{"a":1}', '{"b":null}'],
    ],
  ];

  it.each(cases)("%s", (_, schema, good, bad) => {
    const isTaken = takes(schema);
    for (const text of good) expect(isTaken(text), text).toBe(true);
    for (const text of bad) expect(isTaken(text), text).toBe(false);
  });

  it("hundreds of constants in a 'oneOf' are told apart in one pass", () => {
    const options = Array.from({ length: 3_000 }, (_, at) => ({ const: `value ${at}`, title: `${at}` }));
    const isTaken = takes({ oneOf: options });
    expect([isTaken('"value 2999"'), isTaken('"value 3000"')]).toEqual([true, false]);
    const tagged = options
      .slice(0, 400)
      .map((tag) => ({ type: "object", properties: { tag, x: { type: "null" } }, required: ["tag"] }));
    expect(takes({ oneOf: tagged })('{"tag":"value 399","x":null}')).toBe(true);
    expect(() => takes({ oneOf: [...options, options[0]] })).toThrow(
      "'oneOf' whose alternatives could fit the same value",
    );
  });
});

describe("words that every object of JavaScript has", () => {
  it.each(["constructor", "toString", "__proto__", "valueOf"])("are keywords like any other: %s", (keyword) => {
    // A value that both have can be combined; where it differs, the keyword is named as it was sent.
    const schema = (value: number) => `{"type":"string","maxLength":3,"${keyword}":${value}}`;
    const isTaken = takes(`{"allOf":[${schema(1)},${schema(1)},{"minLength":2}]}`);
    expect([isTaken('"ab"'), isTaken('"a"'), isTaken('"abcd"')]).toEqual([true, false, false]);
    expect(() => takes(`{"allOf":[${schema(1)},${schema(2)}]}`)).toThrow(`both have '${keyword}'`);
  });

  it.each(["constructor", "toString", "__proto__"])("are names of members like any other: %s", (name) => {
    const schema = `{"type":"object","properties":{"${name}":{"type":"null"}},"required":["${name}"]}`;
    expect([takes(schema)(`{"${name}":null}`), takes(schema)("{}")]).toEqual([true, false]);
  });
});

describe("a tool that is not asked for strictly", () => {
  const odd: readonly (readonly [keyword: string, schema: object, good: string])[] = [
    ["uniqueItems of objects", { type: "array", items: { type: "object" }, uniqueItems: true }, "[{},{}]"],
    ["not", { type: "string", not: { const: "a" } }, '"a"'],
    ["if", { type: "integer", if: { minimum: 3 }, else: false }, "1"],
    ["contains", { type: "array", items: { type: "integer" }, contains: { const: 1 } }, "[2]"],
    ["lookbehind", { type: "string", pattern: "(?<!a)b" }, '"c"'],
    ["a format that is not kept", { type: "string", format: "regex" }, '"("'],
    ["a reference out of the schema", { $ref: "https://example.com/point.json" }, '{"x":1}'],
    ["a reference to nothing", { type: "array", items: { $ref: "#/definitions/gone" } }, "[1]"],
    ["a oneOf that overlaps", { oneOf: [{ type: "integer" }, { type: "number" }] }, "1"],
  ];

  it.each(odd)("is served without what cannot be kept: %s", (_, schema, good) => {
    const tag = { begin: "<t>", end: "</t>", param: "tools[0]" };
    const parameters = {
      type: "object",
      properties: { p: schema, q: { type: "integer" } },
      required: ["p"],
      additionalProperties: false,
    };
    const constraint = (isStrict: boolean) =>
      ({
        kind: "textWithTags",
        trigger: "<t>",
        tags: [{ ...tag, schema: JSON.stringify(parameters), isStrict }],
        atMost: "any",
        param: "tools",
      }) as const;
    const isTaken = textsOf(bytes, constraint(false));
    expect(isTaken(`Well, <t>{"p": ${good}, "q": 1}</t> and more`)).toBe(true);
    expect(isTaken(`Well, <t>{"p": ${good}, "q": "x"}</t>`)).toBe(false);
    expect(() => textsOf(bytes, constraint(true))).toThrow(expect.objectContaining({ param: "tools[0]" }) as Error);
  });
});

it("a turn is calls, or a text of the schema", () => {
  const tag = {
    begin: "<t>",
    schema: '{"type":"object","properties":{}}',
    isStrict: false,
    end: "</t>",
    param: "tools",
  };
  const isTaken = textsOf(bytes, {
    kind: "tagsOr",
    tags: { kind: "tags", tags: [tag], separator: "\n", atMost: "any", param: "tools" },
    other: {
      kind: "jsonSchema",
      schema: '{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}',
      param: "response_format",
    },
    param: "response_format",
  });
  expect(["<t>{}</t>", "<t>{}</t>\n<t>{}</t>", '{"a":"<t>{}</t>"}'].map(isTaken)).toEqual([true, true, true]);
  expect(["", "text", '<t>{}</t>{"a":""}', "{}"].map(isTaken)).toEqual([false, false, false, false]);
});
