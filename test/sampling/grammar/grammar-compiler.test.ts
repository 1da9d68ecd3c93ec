import { afterAll, describe, expect, it } from "vitest";
import type { OutputConstraint } from "../../../src/sampling/grammar/constraint.js";
import { GrammarCompiler } from "../../../src/sampling/grammar/grammar-compiler.js";
import { byteVocabulary } from "./grammar-text.js";

/** The trial thread runs compiled code; `npm test` builds it first. */
const workerUrl = new URL("../../../dist/sampling/grammar/trial-worker.js", import.meta.url);
const compiler = new GrammarCompiler(byteVocabulary(), workerUrl);
afterAll(() => compiler.close());

const good: OutputConstraint = { kind: "choice", options: ["yes", "no"], param: "guided_choice" };

async function expectWorks(): Promise<void> {
  const matcher = (await compiler.compile(good)).matcher();
  for (const byte of Buffer.from("yes")) matcher.append(byte);
  expect(matcher.isComplete).toBe(true);
  matcher.dispose();
}

describe("the grammar compiler", () => {
  it.each([
    ["a rule that is not there", { kind: "grammar", grammar: "root ::= missing" }, 'Rule "missing" is not defined'],
    ["no root", { kind: "grammar", grammar: 'start ::= "a"' }, "cannot be compiled"],
    ["no grammar", { kind: "grammar", grammar: "((((" }, "cannot be compiled"],
    ["a rule that is itself", { kind: "grammar", grammar: "root ::= root" }, "no text goes on"],
    ["a dead end behind the beginning", { kind: "grammar", grammar: 'root ::= "a" x\nx ::= x' }, "no text goes on"],
    [
      "parentheses beyond the engine's stack",
      { kind: "grammar", grammar: `root ::= ${"(".repeat(9_000)}"a"${")".repeat(9_000)}` },
      "nested too deep",
    ],
    ["the empty text", { kind: "choice", options: [""] }, "empty text"],
    ["a regular expression that is none", { kind: "regex", pattern: "(a" }, "not closed"],
    ["a regular expression of a megabyte", { kind: "regex", pattern: "a".repeat(1_000_000) }, "at most 4000"],
    ["repetitions of repetitions", { kind: "regex", pattern: "(([a-z]{1,1000}){1,1000}){1,1000}" }, /too long|seconds/],
  ] as const)("refuses %s, and works on", async (_, constraint, words) => {
    const error = await compiler.compile({ ...constraint, param: "guided_x" }).then(
      () => null,
      (cause: unknown) => cause,
    );
    expect(error).toMatchObject({ code: "invalid_request", param: "guided_x" });
    expect((error as Error).message).toMatch(words);
    await expectWorks();
  });

  it("names the tool whose parameters cannot be used", async () => {
    const tag = { begin: "<", schema: '{"not":{}}', end: ">", param: "tools[1].function.parameters" };
    const fine = { begin: "[", schema: '{"type":"null"}', end: "]", param: "tools[0].function.parameters" };
    for (const constraint of [
      { kind: "tags", tags: [fine, tag], separator: "\n", atMost: "any", param: "tools" },
      { kind: "textWithTags", trigger: "<", tags: [tag], atMost: "any", param: "tools" },
    ] as const) {
      await expect(compiler.compile(constraint)).rejects.toMatchObject({ param: "tools[1].function.parameters" });
    }
  });

  it("keeps a bounded number of grammars, and those in use work on when they are dropped", async () => {
    const old = (await compiler.compile({ kind: "choice", options: ["first"], param: "x" })).matcher();
    for (let at = 0; at < 40; at++) await compiler.compile({ kind: "choice", options: [`other ${at}`], param: "x" });
    for (const byte of Buffer.from("first")) old.append(byte);
    expect(old.isComplete).toBe(true);
    old.dispose();
  });

  it("compiles what many ask for at once", async () => {
    const compiled = await Promise.all(
      Array.from({ length: 12 }, (_, at) =>
        compiler.compile({ kind: "choice", options: [`at once ${at % 3}`], param: "x" }),
      ),
    );
    expect(compiled).toHaveLength(12);
  });
});
