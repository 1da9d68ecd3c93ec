import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import fc from "fast-check";
import { generateSync, type JsonSchema } from "json-schema-faker";
import { describe, expect, it } from "vitest";
import { ToastError } from "../../../src/errors.js";
import type { Matcher } from "../../../src/grammar/matcher.js";
import { isAllowed } from "../../../src/grammar/token-mask.js";
import { byteVocabulary, schemaTakes, TestGrammars } from "../grammar-text.js";
import { inOrder, randomSchema } from "./random-schemas.js";

/** `SCHEMA_CASES=10000` tries as many texts and values each; the ordinary run some hundred. */
const { SCHEMA_CASES = "300" } = process.env;
const wanted = Number(SCHEMA_CASES);
const perSchema = 8;

const bytes = new TestGrammars(byteVocabulary());
const ajv = new Ajv2020({ strict: false, multipleOfPrecision: 9, allErrors: true });
// ajv-formats is CommonJS: its function is the default export of the default export to types, and itself at run time.
(addFormats as unknown as (ajv: Ajv2020) => void)(ajv);

/** Schemas that have values, with what is wrong with a value. */
function* schemas(seed: number) {
  const batch = 200;
  for (let round = 0; ; round++) {
    for (const schema of fc.sample(randomSchema, { numRuns: batch, seed: seed + round })) {
      try {
        const written = JSON.stringify(schema);
        const matcherOf = bytes.compile({ kind: "jsonSchema", schema: written, param: "schema" });
        const validate = ajv.compile(schema);
        yield {
          written,
          schema,
          matcherOf,
          isValid: (value: unknown) => validate(value),
          errors: () => validate.errors,
        };
      } catch (cause) {
        // Schemas without a value are refused, and those that cannot be merged; nothing else is.
        if (!(cause instanceof ToastError)) throw cause;
        expect(cause.message, JSON.stringify(schema)).toMatch(/No finite text|not supported|empty text/);
      }
    }
  }
}

/** @returns null where the text did not end in time. */
function randomText(matcher: Matcher, random: () => number): string | null {
  const text: number[] = [];
  while (text.length < 400) {
    const mask = matcher.mask();
    const allowed = Array.from({ length: 257 }, (_, id) => id).filter((id) => isAllowed(mask, id));
    const closing = allowed.filter((id) => id === 256 || [0x22, 0x5d, 0x7d].includes(id));
    const others = allowed.filter((id) => ![0x20, 9, 10, 13].includes(id));
    const pool =
      closing.length > 0 && random() < 0.3 ? closing : random() < 0.1 || others.length === 0 ? allowed : others;
    const id = pool[Math.floor(random() * pool.length)] as number;
    if (id === 256) return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(text));
    text.push(id);
    matcher.append(id);
  }
  return null;
}

function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return ((state ^ (state >>> 15)) >>> 0) / 2 ** 32;
  };
}

describe("the grammar of a JSON Schema", () => {
  it(`writes nothing that is not valid: ${wanted} random texts`, { timeout: 3_600_000 }, () => {
    const random = randomOf(1);
    let texts = 0;
    for (const { written, matcherOf, isValid, errors } of schemas(1)) {
      for (let at = 0; at < perSchema; at++) {
        const text = randomText(matcherOf(), random);
        // The judge reads doubles, which do not tell numbers of so many digits apart.
        if (text === null || /\d{16}/.test(text)) continue;
        texts++;
        const told = `${written}\n${text}`;
        expect(() => JSON.parse(text), told).not.toThrow();
        expect(isValid(JSON.parse(text)), `${told}\n${JSON.stringify(errors())}`).toBe(true);
      }
      if (texts >= wanted) break;
    }
    console.log(`${texts} random texts, all valid`);
  });

  it(`can write every value that is valid: ${wanted} random values`, { timeout: 3_600_000 }, () => {
    let values = 0;
    let invalid = 0;
    for (const { written, schema, isValid } of schemas(1_000_000)) {
      const takes = schemaTakes(bytes, written);
      for (let seed = 0; seed < perSchema; seed++) {
        const value = inOrder(generated(schema, seed));
        // The generator does not keep to every combination of keywords; the judge of values is ajv.
        // Doubles beyond 2⁵³ are multiples of what their digits are not.
        if (value === undefined || !isValid(value) || /\d{16}/.test(plainJson(value))) {
          invalid++;
          continue;
        }
        values++;
        for (const text of [plainJson(value), plainJson(value, 2)])
          expect(takes(text), `${written}\n${text}`).toBe(true);
      }
      if (values >= wanted) break;
    }
    console.log(`${values} random values, all taken; ${invalid} of the generator's were not valid`);
    expect(values).toBeGreaterThan(invalid / 2);
  });
});

/** JSON with all digits written out: an exponent may only follow what is within bounds without it. */
function plainJson(value: unknown, indent = 0): string {
  const plain = (_: string, member: unknown): unknown =>
    typeof member === "number" && String(member).includes("e") ? `@@${digitsOf(member)}@@` : member;
  return JSON.stringify(value, plain, indent).replace(/"@@(.*?)@@"/g, "$1");
}

function digitsOf(number: number): string {
  return Math.abs(number) < 1 ? number.toFixed(20).replace(/0+$/, "") : BigInt(number).toString();
}

function generated(schema: object, seed: number): unknown {
  try {
    return generateSync(schema as JsonSchema, { seed, maxDepth: 6 });
  } catch {
    return undefined;
  }
}
