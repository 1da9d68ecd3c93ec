import { describe, expect, it } from "vitest";
import { Automaton } from "../../../src/grammar/automaton/automaton.js";
import { indexTokens } from "../../../src/grammar/automaton/token-trie.js";
import {
  choice,
  complement,
  type Expression,
  intersection,
  literal,
  type Rules,
  repeat,
  rule,
  sequence,
} from "../../../src/grammar/expression.js";
import { isAllowed } from "../../../src/grammar/token-mask.js";
import { packVocabulary } from "../../../src/grammar/vocabulary.js";

const words = ["a", "b", "ab", "ba", "aab", "bb", "abab", "é", '"', "c", "ab"];
const eosId = words.length;
const tokens = indexTokens(
  packVocabulary(words.length + 1, (id) => (id < words.length ? new TextEncoder().encode(words[id]) : undefined), [
    eosId,
  ]),
);
const automatonOf = (root: Expression, others: Rules = new Map()) => {
  const automaton = new Automaton(new Map([...others, ["root", root]]), tokens);
  automaton.prepare();
  return automaton;
};

/** Tokens that may follow a text; `end` where it may end. */
function following(automaton: Automaton, text: string): readonly string[] {
  const mask = automaton.mask(automaton.after(automaton.root(), new TextEncoder().encode(text)));
  const allowed = words.filter((_, id) => isAllowed(mask, id));
  return [...new Set(allowed), ...(isAllowed(mask, eosId) ? ["end"] : [])].toSorted();
}

const ab = choice(literal("a"), literal("b"));

describe("an automaton", () => {
  it("allows whole tokens only where some text goes on behind them", () => {
    const automaton = automatonOf(choice(literal("abab"), literal("aabc")));
    expect(following(automaton, "")).toEqual(["a", "aab", "ab", "abab"]);
    expect(following(automaton, "a")).toEqual(["a", "ab", "b", "ba"]);
    expect(following(automaton, "aab")).toEqual(["c"]);
    expect(following(automaton, "abab")).toEqual(["end"]);
  });

  it("gives tokens of the same bytes the same bit", () => {
    const automaton = automatonOf(literal("ab"));
    const mask = automaton.mask(automaton.root());
    expect([isAllowed(mask, 2), isAllowed(mask, 10), isAllowed(mask, 3)]).toEqual([true, true, false]);
  });

  it("follows what has to hold together, and what must not", () => {
    const automaton = automatonOf(
      intersection(repeat(ab, 2, 4), complement(sequence(literal("ab"), repeat(ab, 0, null)))),
    );
    expect(following(automaton, "")).toEqual(["a", "aab", "b", "ba", "bb"]);
    expect(following(automaton, "a")).toEqual(["a", "aab", "ab"]);
    expect(following(automaton, "bbbb")).toEqual(["end"]);
  });

  it("has no text where parts that have to hold together share none", () => {
    const automaton = automatonOf(intersection(repeat(literal("a"), 3, null), repeat(ab, 0, 2)));
    expect(automaton.isDead(automaton.root())).toBe(true);
  });

  it("never begins what has no end", () => {
    const others = new Map([["never", sequence(literal("b"), rule("never"))]]);
    const automaton = automatonOf(choice(literal("a"), rule("never")), others);
    expect(following(automaton, "")).toEqual(["a"]);
  });

  it("counts long repetitions exactly, whatever masks they share", () => {
    const automaton = automatonOf(repeat(literal("a"), 98, 100));
    const at = (count: number) => following(automaton, "a".repeat(count));
    expect(at(50)).toEqual(["a"]);
    expect(at(97)).toEqual(["a"]);
    expect(at(98)).toEqual(["a", "end"]);
    expect(at(100)).toEqual(["end"]);
  });

  it("goes on when it has forgotten what it knew", () => {
    const automaton = automatonOf(sequence(repeat(ab, 0, 3_000), literal("c")));
    const root = automaton.root();
    const before = following(automaton, "");
    for (let at = 0; at < 3_000; at++)
      automaton.mask(automaton.after(root, new TextEncoder().encode("ab".repeat(at % 7))));
    expect(following(automaton, "")).toEqual(before);
  });
});
