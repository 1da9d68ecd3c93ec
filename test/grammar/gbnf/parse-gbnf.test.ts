import { describe, expect, it } from "vitest";
import { byteVocabulary, TestGrammars, takes } from "../grammar-text.js";

const bytes = new TestGrammars(byteVocabulary());
const textsOf = (grammar: string) => takes(bytes, { kind: "grammar", grammar, param: "guided_grammar" });

describe("a grammar in GBNF", () => {
  it.each([
    [
      "texts, classes and counts",
      'root ::= "a\\n" [b-d]{2} [^x] "é"? . # rest',
      ["a\nbcy!", "a\nddyé😀"],
      ["a\nbcx!", "a\nbcy"],
    ],
    [
      "rules over several lines",
      'root ::=\n  one |\n  two\n# between\none ::= "1"\ntwo ::= ("2"\n  "2")',
      ["1", "22"],
      ["2"],
    ],
    ["names with dashes", 'root ::= a-b\na-b ::= "x" | ""', ["x", ""], ["y"]],
    ["rules that hold themselves", 'root ::= "(" root ")" | "x"', ["x", "((x))"], ["((x)"]],
    ["rules that begin with themselves", 'root ::= root "+" n | n\nn ::= [0-9]+', ["1", "1+22+3"], ["+1", "1+"]],
    [
      "rules that begin with each other",
      'root ::= a\na ::= b "x" | "1"\nb ::= a "y" | "2"',
      ["1", "2x", "1yx", "2xyx"],
      ["1x", "2"],
    ],
    ["escapes", 'root ::= "\\x41\\u00e9\\U0001F600\\"" [\\]\\-\\\\]', ['Aé😀"]', 'Aé😀"-', 'Aé😀"\\'], ['Aé😀"a']],
  ])("takes its texts and no others: %s", (_, grammar, good, bad) => {
    const isTaken = textsOf(grammar);
    for (const text of good) expect(isTaken(text), text).toBe(true);
    for (const text of bad) expect(isTaken(text), text).toBe(false);
  });

  it.each([
    ['root ::= "a', "not closed (line 1)"],
    ["root ::= [a", "not closed (line 1)"],
    ['root ::= "a"\nroot ::= "b"', "a rule 'root' already (line 2)"],
    ['root "a"', "'::=' is expected"],
    ["root ::= (", "a parenthesis is not closed"],
    ['root ::= "a"{2,1}', "the wrong way round"],
    ['root ::= (= "a")', "lookahead is not supported"],
    ['root ::= x? root "a" | "b"\nx ::= "y"', "begins with itself"],
    ["root ::= [b-a]", "a range that is none"],
    ['root ::= "\\q"', "'\\q' is not supported"],
  ])("is refused with the place: %s", (grammar, words) => {
    expect(() => textsOf(grammar)).toThrow(
      expect.objectContaining({ code: "invalid_request", message: expect.stringContaining(words) as string }) as Error,
    );
  });
});
