import { describe, expect, it } from "vitest";
import { type DeltaPart, ToolCallParser } from "../../src/openai/tool-calls.js";
import { callClosing, callOpening } from "../../src/text/tool-call-format.js";

function call(name: string, json: string): string {
  return callOpening(name) + json + callClosing;
}

/** The parts of a text that comes in the given pieces, joined as a client joins them. */
function read(pieces: readonly string[]) {
  let ids = 0;
  const parser = new ToolCallParser("calls", () => `call_${ids++}`);
  const parts: DeltaPart[] = pieces.flatMap((piece) => [...parser.push(piece)]);
  parts.push(...parser.flush());
  const calls: { id: string; name: string; arguments: string }[] = [];
  let content = "";
  for (const part of parts) {
    if (part.kind === "content") content += part.text;
    else if (part.kind === "callStart") {
      expect(part.index).toBe(calls.length);
      calls.push({ id: part.id, name: part.name, arguments: "" });
    } else {
      const open = calls[part.index];
      expect(part.index).toBe(calls.length - 1);
      if (open !== undefined) open.arguments += part.text;
    }
  }
  return { content, calls };
}

const tricky = String.raw`{"text": "a } </tool_call> \" { \\", "list": [{"x": []}, "}"], "é": "😀"}`;
const texts = {
  plain: "Nothing < to call, 1 <2, <tool> </tool_call> is no call.\n",
  one: call("weather", '{"city": "Oslo"}'),
  several: `${call("a", "{}")}\n${call("b-2", tricky)}`,
  within: `Let me see.\n\n${call("a", '{"x": 1}')}\nAnd then:  ${call("b", "{}")} Done. `,
  blanks: '  <tool_call>{ "name" : "a" ,"arguments":{"x":1} }</tool_call>  ',
};

describe("calls in a text", () => {
  it.each(Object.entries(texts))("read the same however the text is cut: %s", (_, text) => {
    const whole = read([text]);
    expect(read([...text])).toEqual(whole);
    for (let at = 1; at < text.length; at++) expect(read([text.slice(0, at), text.slice(at)])).toEqual(whole);
    for (const size of [2, 3, 7]) {
      expect(read(text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [])).toEqual(whole);
    }
  });

  it("leave text without calls as it is, to the last blank", () => {
    expect(read([texts.plain])).toEqual({ content: texts.plain, calls: [] });
    expect(read(["  a <"])).toEqual({ content: "  a <", calls: [] });
  });

  it("become calls with their arguments byte for byte", () => {
    expect(read([texts.several])).toEqual({
      content: "",
      calls: [
        { id: "call_0", name: "a", arguments: "{}" },
        { id: "call_1", name: "b-2", arguments: tricky },
      ],
    });
    expect(JSON.parse(read([texts.several]).calls[1]?.arguments ?? "")).toEqual(JSON.parse(tricky));
  });

  it("part with the blanks beside them and with nothing else", () => {
    expect(read([texts.within]).content).toBe("Let me see.\nAnd then: Done.");
    expect(read([texts.blanks])).toEqual({ content: "", calls: [{ id: "call_0", name: "a", arguments: '{"x":1}' }] });
  });

  it("never leak their markup, wherever the text breaks off", () => {
    const text = `Well. ${texts.several}`;
    for (let end = 0; end <= text.length; end++) {
      const { content, calls } = read([text.slice(0, end)]);
      expect("Well. <too".startsWith(content.trimEnd()), content).toBe(true);
      for (const { name } of calls) expect(["a", "b-2"]).toContain(name);
    }
  });

  it("are read at the beginning only where the text is calls or something else", () => {
    const json = '{"answer": "<tool_call>"}';
    for (const pieces of [[json], [...json]]) {
      const parser = new ToolCallParser("callsOrText");
      const parts = [...pieces.flatMap((piece) => [...parser.push(piece)]), ...parser.flush()];
      expect(parts.map((part) => (part.kind === "content" ? part.text : part.kind)).join("")).toBe(json);
    }
    const parser = new ToolCallParser("callsOrText");
    const kinds = [...texts.several].flatMap((piece) => [...parser.push(piece)]).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "callStart")).toHaveLength(2);
    expect(kinds).not.toContain("content");
  });

  it("stream their arguments as they come", () => {
    const parser = new ToolCallParser();
    const parts = [...callOpening("f"), ...'{"x": 12}'].flatMap((piece) => [...parser.push(piece)]);
    expect(parts.filter(({ kind }) => kind === "arguments")).toHaveLength('{"x": 12}'.length);
  });

  it("have ids of their own", () => {
    const ids = Array.from({ length: 50 }, () => new ToolCallParser().push(texts.one)[0]);
    const values = ids.map((part) => (part?.kind === "callStart" ? part.id : ""));
    expect(new Set(values).size).toBe(50);
    for (const id of values) expect(id).toMatch(/^call_[0-9a-f]{24}$/);
  });
});
