import { describe, expect, it } from "vitest";
import { ToastError } from "../../src/errors.js";
import { jsonTextOf, maxSchemaText, mostPieces, parseJsonBody } from "../../src/openai/json-body.js";
import { constraintFields } from "../../src/openai/output-constraint.js";

const many = (piece: string, count: number) => Array.from({ length: count }, () => piece).join(",");
const codeOf = (text: string) => {
  try {
    parseJsonBody(text);
    return null;
  } catch (error) {
    return error instanceof ToastError ? error.code : String(error);
  }
};

describe("a body", () => {
  it.each([
    ["objects", `{"a": [${many("{}", mostPieces)}]}`],
    ["strings", `{"a": [${many('"b"', mostPieces)}]}`],
    ["arrays in arrays", "[".repeat(mostPieces + 1)],
    ["numbers", `{"a": [${many("1", 17 * mostPieces)}]}`],
    ["numbers of a schema", `{"guided_json": {"enum": [${many("1", mostPieces)}]}}`],
  ])("of too many %s is refused before it is made", (_, text) => {
    expect(codeOf(text)).toBe("body_too_large");
  });

  it("may be a long text, or as many token ids as a context holds", () => {
    expect(codeOf(JSON.stringify({ prompt: '"[{,'.repeat(500_000) }))).toBeNull();
    expect(codeOf(`{"prompt": [${many("49151", 320_000)}]}`)).toBeNull();
    expect(codeOf(`{"prompt": [${many("49151", 330_000)}]}`)).toBe("body_too_large");
  });

  it("keeps the text of its schemas", () => {
    const schema = '{ "const": 12345678901234567890, "2": 1, "1": 2 }';
    const body = parseJsonBody(`{"x": {}, "guided_json" : ${schema} , "y": [1]}`) as { guided_json: object };
    expect(jsonTextOf(body.guided_json)).toBe(schema);
  });
});

it("a schema of more text than is read is refused where it stands, as text or not", () => {
  const long = { title: "x".repeat(maxSchemaText) };
  for (const schema of [long, JSON.stringify(long)]) {
    const parsed = constraintFields.guided_json.safeParse(schema);
    expect(parsed.error?.issues[0]?.message).toContain("a JSON Schema may have 200000");
  }
});
