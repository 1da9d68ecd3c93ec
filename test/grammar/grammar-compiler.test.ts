import { describe, expect, it } from "vitest";
import type { OutputConstraint } from "../../src/grammar/constraint.js";
import { GrammarCompiler } from "../../src/grammar/grammar-compiler.js";
import { byteVocabulary } from "./grammar-text.js";

const compiler = new GrammarCompiler(byteVocabulary());

const good: OutputConstraint = { kind: "choice", options: ["yes", "no"], param: "guided_choice" };

function expectWorks(): void {
  const matcher = compiler.compile(good).matcher();
  for (const byte of Buffer.from("yes")) matcher.append(byte);
  expect(matcher.isComplete).toBe(true);
  matcher.dispose();
}

describe("the grammar compiler", () => {
  it.each([
    ["a rule that is not there", { kind: "grammar", grammar: "root ::= missing" }, "no rule 'missing'"],
    ["no root", { kind: "grammar", grammar: 'start ::= "a"' }, "no rule 'root'"],
    ["no grammar", { kind: "grammar", grammar: "((((" }, "name of a rule is expected (line 1)"],
    ["a rule that is itself", { kind: "grammar", grammar: "root ::= root" }, "No finite text"],
    ["a rule that never ends", { kind: "grammar", grammar: 'root ::= "a" x\nx ::= "b" x' }, "No finite text"],
    [
      "parentheses beyond measure",
      { kind: "grammar", grammar: `root ::= ${"(".repeat(9_000)}"a"${")".repeat(9_000)}` },
      "nested too deep",
    ],
    ["the empty text", { kind: "choice", options: [""] }, "empty text"],
    ["a regular expression that is none", { kind: "regex", pattern: "(a" }, "unterminated group"],
    ["a regular expression of a megabyte", { kind: "regex", pattern: "a".repeat(1_000_000) }, "at most 10000"],
    [
      "a schema that contradicts itself",
      { kind: "jsonSchema", schema: '{"type":"integer","minimum":2,"maximum":1}' },
      "No finite text",
    ],
    ["a text beyond the thread's stack", { kind: "choice", options: ["a".repeat(190_000)] }, "too long, or nested"],
    ["options beyond the thread's stack", { kind: "regex", pattern: "a?".repeat(5_000) }, "too long, or nested"],
  ] as const)("refuses %s, and works on", (_, constraint, words) => {
    expect(() => compiler.compile({ ...constraint, param: "guided_x" })).toThrow(
      expect.objectContaining({
        code: "invalid_request",
        param: "guided_x",
        message: expect.stringContaining(words) as string,
      }) as Error,
    );
    expectWorks();
  });

  it("names the tool whose parameters cannot be used, where they were to be kept strictly", () => {
    const tag = {
      begin: "<",
      schema: '{"not":{"type":"null"}}',
      isStrict: true,
      end: ">",
      param: "tools[1].function.parameters",
    };
    const fine = {
      begin: "[",
      schema: '{"type":"null"}',
      isStrict: true,
      end: "]",
      param: "tools[0].function.parameters",
    };
    for (const constraint of [
      { kind: "tags", tags: [fine, tag], separator: "\n", atMost: "any", param: "tools" },
      { kind: "textWithTags", trigger: "<", tags: [tag], atMost: "any", param: "tools" },
    ] as const) {
      expect(() => compiler.compile(constraint)).toThrow(
        expect.objectContaining({ param: "tools[1].function.parameters" }) as Error,
      );
      const tags = constraint.tags.map((one) => ({ ...one, isStrict: false }));
      expect(() => compiler.compile({ ...constraint, tags })).not.toThrow();
    }
  });

  it("keeps a bounded number of grammars, and those in use work on when they are dropped", () => {
    const old = compiler.compile({ kind: "choice", options: ["first"], param: "x" }).matcher();
    for (let at = 0; at < 40; at++) compiler.compile({ kind: "choice", options: [`other ${at}`], param: "x" });
    for (const byte of Buffer.from("first")) old.append(byte);
    expect(old.isComplete).toBe(true);
  });

  it.each(["(a|a){0,1000}b", "((a*)*)*b", "(.*){50}x", "([a-z]{1,1000}){1,1000}!"])(
    "follows what repeats within what repeats, and takes no more work for it: %s",
    (pattern) => {
      const matcher = compiler.compile({ kind: "regex", pattern, param: "x" }).matcher();
      for (let at = 0; at < 300; at++) matcher.append(0x61);
      expect(matcher.isComplete).toBe(false);
    },
  );

  it("gives up with a sentence where the ways to read a text multiply without measure, by work and not by time", () => {
    const matcher = compiler
      .compile({ kind: "regex", pattern: "(([a-z]{1,1000}){1,1000}){1,1000}", param: "x" })
      .matcher();
    const follow = () => {
      for (let at = 0; at < 2_000; at++) matcher.append(0x61);
    };
    expect(follow).toThrow(
      expect.objectContaining({
        code: "invalid_request",
        param: "x",
        message: expect.stringContaining("in too many ways at once") as string,
      }) as Error,
    );
  });
});
