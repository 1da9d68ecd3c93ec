import { describe, expect, it } from "vitest";
import type { OutputConstraint } from "../../src/grammar/constraint.js";
import { constraintRules } from "../../src/grammar/constraint-rules.js";
import { GrammarCompiler } from "../../src/grammar/grammar-compiler.js";
import type { Matcher } from "../../src/grammar/matcher.js";
import { isAllowed } from "../../src/grammar/token-mask.js";
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

  it.each([
    ["counts within counts", { kind: "regex", pattern: "(7|[a-z]{1,200}){1,40}x" }],
    [
      "patterns that have to hold together",
      { kind: "jsonSchema", schema: '{"allOf":[{"pattern":"^(a|b)*a(a|b){6}$"},{"pattern":"^(a|b)*b(a|b){5}$"}]}' },
    ],
    [
      "a thousand constants",
      { kind: "jsonSchema", schema: JSON.stringify({ enum: Array.from({ length: 1_000 }, (_, at) => `v${at}`) }) },
    ],
    [
      "a list without doubles",
      {
        kind: "jsonSchema",
        schema: '{"type":"array","items":{"pattern":"^(a|b)*a(a|b){4}$"},"uniqueItems":true,"minItems":2}',
      },
    ],
  ] as const)("compiles and follows in slices what it does at once, to the same end: %s", (_, described) => {
    const constraint = { ...described, param: "x" };
    const compilation = new GrammarCompiler(byteVocabulary()).begin(constraint, constraintRules(constraint));
    let slices = 1;
    let compiled = compilation.advance(0);
    for (; compiled === null; slices++) compiled = compilation.advance(0);
    expect(slices).toBeGreaterThan(10);
    const [sliced, whole] = [compiled.matcher(), new GrammarCompiler(byteVocabulary()).compile(constraint).matcher()];
    for (let at = 0; at < 40 && !whole.isComplete; at++) {
      while (!sliced.isReady(0));
      expect([...sliced.mask()]).toEqual([...whole.mask()]);
      const allowed = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => isAllowed(whole.mask(), byte));
      const next = allowed[(at * 7) % allowed.length];
      if (next === undefined) break;
      for (const one of [sliced, whole]) one.append(next);
    }
    for (const one of [sliced, whole]) one.dispose();
  });

  it("refuses new grammars while those in use take all the room there is, and takes them again afterwards", () => {
    const own = new GrammarCompiler(byteVocabulary(), 1_000);
    const different = (at: number) => own.compile({ kind: "regex", pattern: `[a-z]{0,${90 + at}}x`, param: "x" });
    const followed: Matcher[] = [];
    const fill = () => {
      for (let at = 0; at < 1_000; at++) followed.push(different(at).matcher());
    };
    expect(fill).toThrow(expect.objectContaining({ code: "server_overloaded" }) as Error);
    expect(followed.length).toBeGreaterThan(1);
    for (const matcher of followed) matcher.dispose();
    expect(() => own.compile(good)).not.toThrow();
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
