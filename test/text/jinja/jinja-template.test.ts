import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { type JsonObject, parseJsonTree } from "../../../src/json-tree.js";
import { JinjaTemplate } from "../../../src/text/jinja/jinja-template.js";
import { Callable } from "../../../src/text/jinja/values.js";

interface Golden {
  /** Null: refused. */
  readonly templates: Readonly<Record<string, readonly (string | null)[]>>;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly parts: readonly (readonly [source: string, text: string | null])[];
}

/** `TEMPLATES=folder` holds it against another one, as `write_template_golden.py --public` makes it. */
const { TEMPLATES } = process.env;
const folder = TEMPLATES === undefined ? new URL("../templates/", import.meta.url) : pathToFileURL(`${TEMPLATES}/`);
const written = readFileSync(new URL("golden.json", folder), "utf8");
const golden = JSON.parse(written) as Golden;
/** With the numbers as they are written, as calls have them that come with a request. */
const conversations = ((parseJsonTree(written) as JsonObject).get("conversations") as readonly JsonObject[]).map(
  (conversation) => Object.fromEntries(conversation),
);

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
    expect(conversations.map((conversation) => rendered(source, conversation))).toEqual(texts);
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
