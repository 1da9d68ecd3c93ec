import fc from "fast-check";

type Schema = Record<string, unknown>;

/** Names of properties in the order in which schemas have them, so that a value's members can be put in it. */
const names = ["a", "b b", 'c"', "d\\", "é", "zz"] as const;

const length = fc.nat(6);
const lengths = fc
  .record({ minLength: length, maxLength: length }, { requiredKeys: [] })
  .map((bounds) => ordered(bounds, "minLength", "maxLength"));

const patterns = [
  "^[a-c]{2,4}$",
  "[aeiou]",
  "^a|b$",
  "^(?:x|yz)+$",
  "^\\d{3}-\\d{4}$",
  "\\.com$",
  "^[^a-z]*$",
  '^["\\\\/]{1,3}$',
  "^\\p{Lu}\\w*$",
  "^(?=.*b)[ab]{3}$",
  "^(?!ab)[ab]{2,3}$",
  "^$|^q$",
] as const;

const formats = [
  ..."date-time date time duration email hostname ipv4 ipv6 uri uri-reference uuid json-pointer".split(" "),
  ..."relative-json-pointer uri-template byte".split(" "),
] as const;

const string = fc.oneof(
  lengths.map((bounds) => ({ type: "string", ...bounds })),
  fc.constantFrom(...patterns).map((pattern) => ({ type: "string", pattern })),
  fc.constantFrom(...formats).map((format) => ({ type: "string", format })),
  fc.tuple(fc.constantFrom("[aeiou]", "^[a-z]*$", "b"), lengths).map(([pattern, bounds]) => ({
    type: "string",
    pattern,
    ...bounds,
  })),
);

const bound = fc.oneof(
  fc.integer({ min: -20, max: 20 }),
  fc.integer({ min: -1_000_000, max: 1_000_000 }).map((value) => value / 1_000),
  fc.constantFrom(0, 0.1, 1e-7, 1e21, -1e21, 9_007_199_254_740_991),
);
const numberBounds = fc
  .record({ minimum: bound, exclusiveMaximum: bound }, { requiredKeys: [] })
  .map((bounds) => ordered(bounds, "minimum", "exclusiveMaximum"));
const number = fc.oneof(
  numberBounds.map((bounds) => ({ type: "number", ...bounds })),
  numberBounds.map((bounds) => ({ type: "integer", ...bounds })),
  fc.record({ type: fc.constant("integer"), multipleOf: fc.integer({ min: 1, max: 30 }), minimum: fc.nat(50) }),
  fc.record({ type: fc.constant("number"), multipleOf: fc.constantFrom(0.01, 0.5, 2.5, 7) }),
);

const constant = fc
  .array(fc.constantFrom<unknown>("x", "", 'é😀"\n', 0, -1.5, 0.000001, null, true, [1, { k: "v" }], { m: [] }), {
    minLength: 1,
    maxLength: 4,
  })
  .map((values) => ({ enum: [...new Set(values)] }));

const leaf = fc.oneof(string, number, constant, fc.constantFrom({ type: "boolean" }, { type: "null" }));

function objectOf(known: readonly string[], value: fc.Arbitrary<Schema>): fc.Arbitrary<Schema> {
  return fc
    .tuple(
      fc.subarray([...known], { maxLength: Math.min(4, known.length) }),
      fc.array(value, { minLength: 4, maxLength: 4 }),
      fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
      fc.oneof(fc.constant(undefined), fc.constant(false), leaf),
    )
    .map(([chosen, values, needed, others]) => ({
      type: "object",
      properties: Object.fromEntries(chosen.map((name, at) => [name, values[at]])),
      required: chosen.filter((_, at) => needed[at]),
      // A list of no properties without a word about others is how functions without arguments are written: nothing else is.
      ...(others === undefined && chosen.length > 0 ? {} : { additionalProperties: others ?? false }),
    }));
}

/** Schemas of what a grammar keeps to; some of them have no value at all. */
export const randomSchema = fc
  .letrec<{ schema: Schema; object: Schema }>((tie) => ({
    schema: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      leaf,
      fc.record({
        type: fc.constant("array"),
        items: tie("schema"),
        minItems: fc.nat(1),
        maxItems: fc.integer({ min: 1, max: 3 }),
      }),
      fc.array(tie("schema"), { minLength: 1, maxLength: 3 }).map((items) => ({
        type: "array",
        prefixItems: items,
        minItems: items.length,
        items: false,
      })),
      fc.array(tie("schema"), { minLength: 1, maxLength: 3 }).map((options) => ({ anyOf: options })),
      fc.tuple(string, fc.constant({ type: "null" })).map((options) => ({ oneOf: options })),
      fc.tuple(string, string).map((parts) => ({ allOf: parts })),
      // What both name stands at the end of one and the beginning of the other: then the order of all is that of `names`.
      fc
        .tuple(objectOf(names.slice(0, 3), tie("schema")), objectOf(names.slice(2), tie("schema")))
        .map((parts) => ({ allOf: parts })),
      tie("object"),
      fc.record({
        type: fc.constant("object"),
        additionalProperties: leaf,
        propertyNames: fc.constant({ pattern: "^[k-n]{1,3}$" }),
      }),
      fc.constant({ $ref: "#/$defs/list" }),
    ),
    object: objectOf(names, tie("schema")),
  }))
  .schema.map(
    (schema): Schema => ({
      ...schema,
      $defs: {
        list: {
          type: "object",
          properties: { a: { type: "integer" }, zz: { anyOf: [{ type: "null" }, { $ref: "#/$defs/list" }] } },
          required: ["a"],
          additionalProperties: false,
        },
      },
    }),
  );

/**
 * The same value with its members in the order of {@link names}, others behind them, and without the dust of floating point: the
 * generator multiplies 0.01 by a number, and gets no multiple.
 */
export function inOrder(value: unknown): unknown {
  if (typeof value === "number" && !Number.isInteger(value)) return Number(value.toPrecision(12));
  if (Array.isArray(value)) return value.map(inOrder);
  if (typeof value !== "object" || value === null) return value;
  const place = (name: string) => (names as readonly string[]).indexOf(name) >>> 0;
  const members = Object.entries(value).toSorted(([a], [b]) => place(a) - place(b));
  return Object.fromEntries(members.map(([name, member]) => [name, inOrder(member)]));
}

function ordered<Bounds extends object>(bounds: Bounds, low: keyof Bounds, high: keyof Bounds): Bounds {
  const [from, to] = [bounds[low], bounds[high]];
  return typeof from === "number" && typeof to === "number" && from > to
    ? { ...bounds, [low]: to, [high]: from }
    : bounds;
}
