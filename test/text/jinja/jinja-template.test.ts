import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { JinjaTemplate } from "../../../src/text/jinja/jinja-template.js";
import { Callable } from "../../../src/text/jinja/values.js";

interface Golden {
  readonly conversations: readonly Readonly<Record<string, unknown>>[];
  /** Null: refused. */
  readonly templates: Readonly<Record<string, readonly (string | null)[]>>;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly parts: readonly (readonly [source: string, text: string | null])[];
}

const folder = new URL("../templates/", import.meta.url);
const golden = JSON.parse(readFileSync(new URL("golden.json", folder), "utf8")) as Golden;

function rendered(source: string, variables: Readonly<Record<string, unknown>>): string | null {
  try {
    return new JinjaTemplate(source).render({
      ...variables,
      raise_exception: new Callable("raise_exception", ([sentence]) => {
        throw new Error(String(sentence));
      }),
      strftime_now: new Callable("strftime_now", () => "01 Jan 2026"),
    });
  } catch {
    return null;
  }
}

describe("a template is written as transformers writes it:", () => {
  it.each(Object.entries(golden.templates))("%s, with every conversation", (name, texts) => {
    const source = readFileSync(new URL(`${name}.jinja`, folder), "utf8");
    expect(golden.conversations.map((conversation) => rendered(source, conversation))).toEqual(texts);
  });

  it.each(golden.parts)("%j", (source, text) => {
    expect(rendered(source, golden.variables)).toBe(text);
  });
});

describe("what the grammar has no words for is refused when it is read:", () => {
  it.each(["{% for k in d recursive %}{% endfor %}", "{{ (1,) }}", "{% import 'x' as y %}", "{% if x %}", "{{ x"])(
    "%s",
    (source) => {
      expect(() => new JinjaTemplate(source)).toThrow();
    },
  );
});

it("an error says what is wrong with which name", () => {
  const template = new JinjaTemplate("{{ messages[9].role }}");
  expect(() => template.render({ messages: [] })).toThrow(/undefined and has no 'role'/);
  expect(() => new JinjaTemplate("{{ x | nosuch }}").render({})).toThrow("No filter named 'nosuch'.");
});
