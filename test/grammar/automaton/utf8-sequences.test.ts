import fc from "fast-check";
import { expect, it } from "vitest";
import { utf8Sequences } from "../../../src/grammar/automaton/utf8-sequences.js";
import { codePoints } from "../../../src/grammar/code-points.js";

const edges = [0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff];
const scalar = fc.oneof(
  fc.constantFrom(...edges),
  fc.integer({ min: 0, max: 0xd7ff }),
  fc.integer({ min: 0xe000, max: 0x10ffff }),
);

it("byte sequences of a range of characters are those of its characters, and of no others", () => {
  fc.assert(
    fc.property(fc.tuple(scalar, scalar), fc.array(scalar, { maxLength: 20 }), ([a, b], others) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)];
      const within = from <= 0xd7ff && to >= 0xe000 ? codePoints([from, 0xd7ff], [0xe000, to]) : codePoints([from, to]);
      const sequences = utf8Sequences(within);
      for (const code of [...edges, from, to, ...others]) {
        const bytes = new TextEncoder().encode(String.fromCodePoint(code));
        const fitting = sequences.filter(
          (ranges) =>
            ranges.length === bytes.length &&
            ranges.every(([low, high], at) => low <= (bytes[at] ?? -1) && (bytes[at] ?? -1) <= high),
        );
        expect(fitting.length, code.toString(16)).toBe(code >= from && code <= to ? 1 : 0);
      }
    }),
  );
});
