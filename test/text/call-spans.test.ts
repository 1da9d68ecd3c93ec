import { describe, expect, it } from "vitest";
import { type CallMarkup, CallSpans, type Span } from "../../src/text/call-spans.js";

const calls = ["a", "ab"].map((name) => ({
  begin: `<tool_call>\n{"name": "${name}", "arguments": `,
  end: "}\n</tool_call>",
}));
const one = '<tool_call>\n{"name": "a", "arguments": {"x": "}\\"<tool_call>", "y": [{}]}}\n</tool_call>';
const two = '<tool_call>\n{"name": "ab", "arguments": {}}\n</tool_call>';

/** Neighbours of a kind as one: how often the text was cut does not matter. */
function spans(text: string, where: CallMarkup["where"], size: number): readonly Span[] {
  const reader = new CallSpans({ trigger: "<tool_call>", calls, where });
  const found: Span[] = [];
  for (let at = 0; at < text.length; at += size) found.push(...reader.push(text.slice(at, at + size)));
  found.push(...reader.flush());
  const joined: { text: string; isCall: boolean }[] = [];
  for (const { text: piece, isCall } of found) {
    const last = joined.at(-1);
    if (last?.isCall === isCall) last.text += piece;
    else joined.push({ text: piece, isCall });
  }
  return joined;
}

describe.each([1, 3, 7, 1000])("calls are parted from text, %d characters at a time,", (size) => {
  it("wherever they stand", () => {
    expect(spans(`Well <tool, ${one}\nand ${two} <`, "anywhere", size)).toEqual([
      { text: "Well <tool, ", isCall: false },
      { text: one, isCall: true },
      { text: "\nand ", isCall: false },
      { text: two, isCall: true },
      { text: " <", isCall: false },
    ]);
  });

  it("where there is nothing else", () => {
    expect(spans(`${one}\n${two}`, "nothingElse", size)).toEqual([{ text: `${one}\n${two}`, isCall: true }]);
  });

  it("where a text begins with one or has none", () => {
    expect(spans(`${two}\n${one}`, "fromStart", size)).toEqual([{ text: `${two}\n${one}`, isCall: true }]);
    const text = `{"answer": ${one}`;
    expect(spans(text, "fromStart", size)).toEqual([{ text, isCall: false }]);
  });
});
