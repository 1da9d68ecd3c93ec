import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type DeltaPart, ToolCallParser } from "../../src/openai/tool-calls.js";
import { ChatTemplate } from "../../src/text/chat-template.js";
import { callOpening, ownFormat } from "../../src/text/tool-call-format.js";

const tokens = { bosToken: "<s>", eosToken: "</s>", specialTexts: ["<|eot|>", "<|call|>", "<|eom|>", "[TOOL_CALLS]"] };
const formatOf = (source: string) => new ChatTemplate(source, tokens).calls;
const published = (name: string) => readFileSync(new URL(`templates/${name}.jinja`, import.meta.url), "utf8");

/** A template that tells of tools and writes a call as it is told. */
const writing = (call: string, many = true) =>
  [
    "{% for t in tools or [] %}{{ t.function | tojson }}\n{% endfor %}",
    "{% for m in messages %}<|{{ m.role }}|>",
    "{% if m.tool_calls %}",
    many ? "" : "{% if m.tool_calls | length > 1 %}{{ raise_exception('One call only.') }}{% endif %}",
    `{% for c in m.tool_calls %}${call}{% endfor %}`,
    "{% else %}{{ m.content }}{% endif %}<|eot|>",
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
  ].join("");

describe("the format of calls is the template's", () => {
  it.each([
    [
      "one object",
      writing('{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}', false),
      { trigger: '{"name": "', head: '{"name": "', middle: '", "parameters": ', end: "}", separator: null },
    ],
    [
      "a tag with the name",
      writing("<function={{ c.function.name }}>{{ c.function.arguments | tojson }}</function>\n"),
      { trigger: "<function=", head: "<function=", middle: ">", end: "</function>", separator: "\n" },
    ],
    [
      "behind a special token",
      writing("<|call|>{{ c.function.name }}\n{{ c.function.arguments | tojson }}<|eom|>"),
      null,
    ],
    [
      "our own",
      writing(
        '{% if not loop.first %}{{ "\\n" }}{% endif %}<tool_call>\n{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>',
      ),
      ownFormat,
    ],
    [
      "with an id among it",
      writing(
        '[{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, "id": "{{ c.id }}"}]',
      ),
      null,
    ],
    [
      "in words",
      writing(
        "I call {{ c.function.name }} with {% for k, v in c.function.arguments | items %}{{ k }}={{ v }}{% endfor %}.",
      ),
      null,
    ],
    ["of one that knows no tools", "{% for m in messages %}{{ m.content }}{% endfor %}", null],
  ])("%s", (_, source, format) => {
    expect(formatOf(source)).toEqual(format);
  });

  it.each([
    ["Qwen-Qwen2.5-7B-Instruct", ownFormat],
    ["Qwen-Qwen3-0.6B", ownFormat],
    ["ibm-granite-granite-4.0", ownFormat],
    ["microsoft-Phi-3.5-mini-instruct", null],
    ["mistralai-Mistral-Nemo-Instruct-2407", null],
  ])("as %s has it", (name, format) => {
    expect(formatOf(published(name))).toEqual(format);
  });
});

describe.each(["one object", "a tag with the name"])("calls are read back: %s", (kind) => {
  const format =
    kind === "one object"
      ? { trigger: '{"name": "', head: '{"name": "', middle: '", "parameters": ', end: "}", separator: null }
      : { trigger: "<function=", head: "<function=", middle: ">", end: "</function>", separator: "\n" };

  it.each([1, 4, 1000])("%d characters at a time", (size) => {
    const args = '{"city": "Os}lo", "n": [{}]}';
    const text = `Well. ${callOpening("weather", format)}${args}${format.end}`;
    const parser = new ToolCallParser("calls", () => "call_0", format);
    const parts: DeltaPart[] = [];
    for (let at = 0; at < text.length; at += size) parts.push(...parser.push(text.slice(at, at + size)));
    parts.push(...parser.flush());
    const joined = (of: "content" | "arguments") =>
      parts.map((part) => (part.kind === of && "text" in part ? part.text : "")).join("");
    expect(joined("content")).toBe("Well.");
    expect(joined("arguments")).toBe(args);
    expect(parts.filter(({ kind: what }) => what === "callStart")).toEqual([
      { kind: "callStart", index: 0, id: "call_0", name: "weather" },
    ]);
  });
});
