import { describe, expect, it } from "vitest";
import { readStack, type SpelledStack, spellStack } from "../../../src/arena/contestants/stack-spelling.js";
import { steeringChoice } from "../../../src/openai/steering-field.js";

const read = (word: string) => readStack(word, steeringChoice);

describe("a stack as a word", () => {
  it.each<[string, SpelledStack]>([
    ["mine", { model: "mine", steering: null }],
    ["mine:alpaca", { model: "mine:alpaca", steering: null }],
    ["mine:alpaca@0.5", { model: "mine:alpaca", steering: { strength: 0.5 } }],
    ["mine:alpaca@0.5:0-3", { model: "mine:alpaca", steering: { strength: 0.5, layers: [0, 3] } }],
    ["mine+happy", { model: "mine", steering: { vectors: [{ name: "happy" }] } }],
    [
      "org/mine:alpaca@0.5+happy@0.8+formal@-0.5:8-14",
      {
        model: "org/mine:alpaca",
        steering: {
          strength: 0.5,
          vectors: [
            { name: "happy", strength: 0.8 },
            { name: "formal", strength: -0.5, layers: [8, 14] },
          ],
        },
      },
    ],
    // As model ids ever could be: what is no strength belongs to the name.
    ["mine@home", { model: "mine@home", steering: null }],
  ])("'%s' is read, and spelled the same", (word, stack) => {
    expect(read(word)).toEqual(stack);
    expect(spellStack(stack)).toBe(word);
  });

  it("of layers without a strength is spelled with the default's", () => {
    expect(spellStack({ model: "mine", steering: { vectors: [{ name: "happy", layers: [1, 2] }] } })).toBe(
      "mine+happy@1:1-2",
    );
  });

  it.each([
    ["mine+", /'mine\+' cannot be read: each '\+' needs the name of a control vector/],
    ["+happy", /no model stands before/],
    ["mine+happy@much", /'happy@much' is no control vector: behind '@' stands a number, as in happy@0\.8/],
    ["mine+happy@0.8:3", /'happy@0.8:3' is no control vector/],
    ["mine+happy@9", /the strength of 'happy' must be a number from -4 to 4\./],
    ["mine+happy@1:5-2", /the layers of 'happy' must be \[from, to\] with from ≤ to\./],
    ["mine:alpaca@9", /the adapter's strength must be a number from 0 to 4\./],
    ["mine:alpaca@-1", /the adapter's strength must be a number from 0 to 4\./],
    [`mine${"+v".repeat(9)}`, /a contestant takes up to 8 control vectors\./],
  ])("'%s' is refused with a sentence", (word, sentence) => {
    expect(() => read(word)).toThrow(sentence);
    expect(read("mine+happy").model).toBe("mine");
  });
});
