import { type Json, JsonNumber } from "../../json-tree.js";
import {
  characters,
  choice,
  type Expression,
  intersection,
  literal,
  optional,
  repeat,
  sequence,
} from "../expression.js";
import { compareDecimals, type Decimal, decimalOf } from "./decimal.js";
import { integerFormats } from "./formats.js";
import { integersBetween, naturalsBetween } from "./integer-ranges.js";
import { fail, type Leniency, type Schema } from "./schema.js";

const digit = characters([[0x30, 0x39]]);
const leadingDigit = characters([[0x31, 0x39]]);
const digits = repeat(digit, 0, null);
const zeros = repeat(literal("0"), 0, null);
const someFraction = sequence(literal("."), repeat(digit, 1, null));
const minus = literal("-");
const somethingAboveZero = sequence(zeros, leadingDigit, digits);
const anyMantissa = sequence(leadingDigit, optional(someFraction));
/** Any exponent. */
const exponentPart = sequence(
  choice(literal("e"), literal("E")),
  optional(choice(literal("+"), minus)),
  repeat(digit, 1, null),
);

/** No exponent. */
const plainNumber = sequence(
  optional(minus),
  choice(literal("0"), sequence(leadingDigit, digits)),
  optional(someFraction),
);
/** Beyond these a reader's double is 0 or infinite. */
const maxExponent = 307;
/** What a multiple is of, without its point: a text is followed by its remainder. */
const maxUnit = 10_000;

/**
 * Any number; with an exponent only where one digit stands before the point, so that it stays in the range of a double.
 */
export const anyNumber = sequence(optional(minus), atLeast(zero(), "closed"));
export const anyInteger = integersBetween(null, null);

type End = "open" | "closed";
interface Bound {
  readonly at: Decimal;
  readonly end: End;
}

/**
 * The numbers that a schema allows, with any number of decimals; with an exponent where the number in front of it is
 * allowed, too.
 * @returns null where it allows all.
 */
export function boundedNumber(
  type: "number" | "integer",
  schema: Schema,
  path: string,
  leniency: Leniency,
): Expression | null {
  const [least, most] = formatBounds(type, schema);
  const low = tightest([...bounds(schema, "minimum", "exclusiveMinimum", path), ...least], 1);
  const high = tightest([...bounds(schema, "maximum", "exclusiveMaximum", path), ...most], -1);
  const multiples = multiplesOf(schema, path, leniency);
  if (low === null && high === null && multiples.length === 0) return null;
  if (type === "integer") return intersection(integersBetween(whole(low, 1n), whole(high, -1n)), ...multiples);
  const plain = intersection(plainNumber, ...numbersFrom(low), ...numbersTo(high), ...multiples);
  if (multiples.length > 0) return plain;
  // An exponent may follow what is within the bounds already: what is not must not be begun in the hope of one.
  return intersection(sequence(plain, optional(exponentPart)), ...numbersFrom(low), ...numbersTo(high));
}

/** Numbers equal to a given one, in every spelling. */
export function spellingsOf(number: Decimal): Expression {
  const bound: Bound = { at: number, end: "closed" };
  return intersection(...numbersFrom(bound), ...numbersTo(bound));
}

function bounds(schema: Schema, closed: string, open: string, path: string): readonly Bound[] {
  return [...boundOf(schema.get(closed), closed, "closed", path), ...boundOf(schema.get(open), open, "open", path)];
}

function boundOf(value: Json | undefined, keyword: string, end: End, path: string): readonly Bound[] {
  if (value === undefined) return [];
  const at = value instanceof JsonNumber ? decimalOf(value.text) : null;
  return at === null ? fail(path, `has a '${keyword}' that is no number to reckon with`) : [{ at, end }];
}

function tightest(all: readonly Bound[], direction: 1 | -1): Bound | null {
  return all.reduce<Bound | null>((best, bound) => {
    if (best === null) return bound;
    const order = compareDecimals(bound.at, best.at) * direction;
    return order > 0 || (order === 0 && bound.end === "open") ? bound : best;
  }, null);
}

/** Those of OpenAPI's formats of integers. */
function formatBounds(type: "number" | "integer", schema: Schema): readonly [readonly Bound[], readonly Bound[]] {
  const listed = (schema.get("formats") ?? []) as readonly Json[];
  const known = listed.flatMap((format) => integerFormats.get(String(format)) ?? []);
  if (type === "number" || known.length === 0) return [[], []];
  const bound = (digits: bigint): Bound => ({ at: { digits, decimals: 0 }, end: "closed" });
  return [known.filter((end) => end < 0n).map(bound), known.filter((end) => end > 0n).map(bound)];
}

/** The first (`towards` 1) or last (−1) integer that keeps to the bound. */
function whole(bound: Bound | null, towards: 1n | -1n): bigint | null {
  if (bound === null) return null;
  const { digits: value, decimals } = bound.at;
  const unit = 10n ** BigInt(decimals);
  const quotient = value / unit;
  if (quotient * unit === value) return bound.end === "open" ? quotient + towards : quotient;
  // BigInt division cuts towards zero.
  const floor = value < 0n ? quotient - 1n : quotient;
  return towards === 1n ? floor + 1n : floor;
}

function multiplesOf(schema: Schema, path: string, leniency: Leniency): readonly Expression[] {
  const listed = (schema.get("multiples") ?? []) as readonly Json[];
  return listed.flatMap((value): readonly Expression[] => {
    const decimal = value instanceof JsonNumber ? decimalOf(value.text) : null;
    if (decimal === null || decimal.digits <= 0n) fail(path, "has a 'multipleOf' that is no number above 0");
    if (decimal.digits > maxUnit || decimal.decimals > 15) {
      leniency.unsupported(
        path,
        `has a 'multipleOf' of more than ${maxUnit} without its point, which is not supported`,
      );
      return [];
    }
    const multiple: Expression = { kind: "multiple", unit: Number(decimal.digits), decimals: decimal.decimals };
    return [sequence(optional(minus), multiple)];
  });
}

function numbersFrom(bound: Bound | null): readonly Expression[] {
  if (bound === null) return [anyNumber];
  const { at, end } = bound;
  // Minus zero is zero: whoever begins with a minus means something else.
  if (at.digits >= 0n) return [atLeast(at, end)];
  return [choice(atLeast(zero(), "closed"), sequence(minus, atMost(opposite(at), end)))];
}

function numbersTo(bound: Bound | null): readonly Expression[] {
  if (bound === null) return [];
  const { at, end } = bound;
  if (at.digits < 0n) return [sequence(minus, atLeast(opposite(at), end))];
  return [choice(atMost(at, end), sequence(minus, atLeast(zero(), at.digits === 0n ? end : "closed")))];
}

/** Numbers without a sign that are at least `bound`, which is not negative. */
function atLeast(bound: Decimal, end: End): Expression {
  const { whole: floor, fraction } = split(bound);
  const plain = [
    sequence(naturalsBetween(floor + 1n, null), optional(someFraction)),
    sequence(literal(String(floor)), fractionAtLeast(fraction, end)),
  ];
  if (bound.digits === 0n) return choice(...plain, scientific(anyMantissa, -maxExponent, maxExponent));
  const { mantissa, exponent } = normalizedForm(bound);
  return choice(
    ...plain,
    scientific(mantissaAtLeast(mantissa, end), exponent, maxExponent),
    scientific(anyMantissa, exponent + 1, maxExponent),
  );
}

/** Numbers without a sign that are at most `bound`, which is not negative. */
function atMost(bound: Decimal, end: End): Expression {
  const { whole: floor, fraction } = split(bound);
  const plain = [
    floor === 0n ? choice() : sequence(naturalsBetween(0n, floor - 1n), optional(someFraction)),
    sequence(literal(String(floor)), fractionAtMost(fraction, end)),
  ];
  if (bound.digits === 0n) return choice(...plain);
  const { mantissa, exponent } = normalizedForm(bound);
  return choice(
    ...plain,
    scientific(mantissaAtMost(mantissa, end), -maxExponent, exponent),
    scientific(anyMantissa, -maxExponent, exponent - 1),
  );
}

/** Digits behind the point, the point included, that are at least `0.fraction`. */
function fractionAtLeast(fraction: string, end: End): Expression {
  if (fraction === "" && end === "closed") return optional(someFraction);
  return sequence(literal("."), fraction === "" ? somethingAboveZero : digitsAtLeast(fraction, end));
}

function digitsAtLeast(fraction: string, end: End): Expression {
  if (fraction === "") return end === "closed" ? digits : somethingAboveZero;
  const first = Number(fraction.charAt(0));
  const same = sequence(literal(String(first)), digitsAtLeast(fraction.slice(1), end));
  return first === 9 ? same : choice(sequence(digitsFromTo(first + 1, 9), digits), same);
}

/** Digits behind the point, the point included, that are at most `0.fraction`; none at all, too. */
function fractionAtMost(fraction: string, end: End): Expression {
  if (fraction === "")
    return end === "closed" ? optional(sequence(literal("."), repeat(literal("0"), 1, null))) : choice();
  return optional(sequence(literal("."), digitsAtMost(fraction, end)));
}

function digitsAtMost(fraction: string, end: End): Expression {
  const first = Number(fraction.charAt(0));
  const rest = fraction.slice(1);
  const smaller = first === 0 ? [] : [sequence(digitsFromTo(0, first - 1), digits)];
  const same = literal(String(first));
  // The last digit is no zero: whatever ends earlier is smaller.
  if (rest === "") return choice(...smaller, ...(end === "closed" ? [sequence(same, zeros)] : []));
  return choice(...smaller, sequence(same, optional(digitsAtMost(rest, end))));
}

/** @param mantissa digits, the first one before the point */
function mantissaAtLeast(mantissa: string, end: End): Expression {
  const first = Number(mantissa.charAt(0));
  const same = sequence(literal(String(first)), fractionAtLeast(mantissa.slice(1), end));
  return first === 9 ? same : choice(sequence(digitsFromTo(first + 1, 9), optional(someFraction)), same);
}

function mantissaAtMost(mantissa: string, end: End): Expression {
  const first = Number(mantissa.charAt(0));
  const same = sequence(literal(String(first)), fractionAtMost(mantissa.slice(1), end));
  return first === 1 ? same : choice(sequence(digitsFromTo(1, first - 1), optional(someFraction)), same);
}

function scientific(mantissa: Expression, from: number, to: number): Expression {
  const [low, high] = [Math.max(from, -maxExponent), Math.min(to, maxExponent)];
  if (low > high) return choice();
  const padding = repeat(literal("0"), 0, 2);
  const options: Expression[] = [];
  if (high >= 0) {
    const magnitude = naturalsBetween(BigInt(Math.max(0, low)), BigInt(high));
    options.push(sequence(optional(literal("+")), padding, magnitude));
  }
  if (low < 0) {
    const magnitude = naturalsBetween(BigInt(Math.max(1, -high)), BigInt(-low));
    options.push(sequence(minus, padding, magnitude));
  }
  return sequence(mantissa, choice(literal("e"), literal("E")), choice(...options));
}

function digitsFromTo(from: number, to: number): Expression {
  return characters([[0x30 + from, 0x30 + to]]);
}

function split(decimal: Decimal): { readonly whole: bigint; readonly fraction: string } {
  const unit = 10n ** BigInt(decimal.decimals);
  const fraction = decimal.decimals === 0 ? "" : (decimal.digits % unit).toString().padStart(decimal.decimals, "0");
  return { whole: decimal.digits / unit, fraction };
}

/** @param decimal above 0 */
function normalizedForm(decimal: Decimal): { readonly mantissa: string; readonly exponent: number } {
  const written = decimal.digits.toString();
  return { mantissa: written.replace(/0+$/, ""), exponent: written.length - 1 - decimal.decimals };
}

function opposite({ digits: value, decimals }: Decimal): Decimal {
  return { digits: -value, decimals };
}

function zero(): Decimal {
  return { digits: 0n, decimals: 0 };
}
