import { describe, expect, it } from "vitest";
import { ToastError } from "../../../src/errors.js";
import { ChatTemplate, ordinaryRendering } from "../../../src/text/chat-template.js";
import { TooMuchWork } from "../../../src/text/jinja/evaluate.js";
import { JinjaTemplate } from "../../../src/text/jinja/jinja-template.js";

const tokens = { bosToken: "", eosToken: "" };
const each = "{% for message in messages %}{{ message.content }};{% endfor %}";
const says = (count: number) => Array.from({ length: count }, () => ({ role: "user" as const, content: "hi" }));
/** Evaluates as often as it says. */
const turns = (count: number) =>
  `{% for i in range(${Math.min(count, 99_999)}) %}{% for j in range(${Math.ceil(count / 99_999)}) %}{% endfor %}{% endfor %}`;

describe("a template that would go on for ever is refused by its work:", () => {
  it.each([
    ["loops within loops", turns(9_999_900_000)],
    ["a loop with a filter", "{% for i in range(99999) if range(99999) | sum > 0 %}{% endfor %}"],
    ["looking through a list again and again", "{% set x = range(99999) %}{% for i in x %}{{ -1 in x }}{% endfor %}"],
    ["looking through a text", "{% set x = 'ab' * 999999 %}{% for i in range(9999) %}{{ x.count('c') }}{% endfor %}"],
    ["comparing", "{% set x = range(99999) %}{% for i in x %}{{ x == x }}{% endfor %}"],
    ["macros", "{% macro a(n) %}{% if n > 0 %}{{ a(n - 1) }}{{ a(n - 1) }}{% endif %}{% endmacro %}{{ a(60) }}"],
  ])("%s", (_, source) => {
    expect(() => new JinjaTemplate(source).render({})).toThrow(TooMuchWork);
  });

  it.each([
    ["a text", "{{ 'x' * 999999999 }}"],
    ["a list", "{{ [1, 2] * 999999999 }}"],
    ["a text that doubles", `{% set n = namespace(x='x') %}${"{% set n.x = n.x ~ n.x %}".repeat(40)}`],
    [
      "a list that holds itself twice, forty times",
      `{% set n = namespace(x=[1]) %}${"{% set n.x = [n.x, n.x] %}".repeat(40)}{{ n.x }}`,
    ],
    ["a dict that does", `{% set n = namespace(x={}) %}${"{% set n.x = {'a': n.x, 'b': n.x} %}".repeat(40)}{{ n.x }}`],
  ])("%s that is too large is refused before it is there", (_, source) => {
    expect(() => new JinjaTemplate(source).render({})).toThrow(/too large|does too much/);
  });
});

describe("a chat template", () => {
  it("writes 5,000 messages, but not quickly", () => {
    const template = new ChatTemplate(each, tokens);
    expect(template.renderQuickly(says(100), ordinaryRendering)).toBe("hi;".repeat(100));
    expect(template.renderQuickly(says(5_000), ordinaryRendering)).toBeNull();
    expect(template.render(says(5_000), ordinaryRendering)).toBe("hi;".repeat(5_000));
  });

  it("that does too much is known after a little of it, and refuses messages with a sentence", () => {
    const template = new ChatTemplate(turns(9_999_900_000), tokens);
    expect(template.renderQuickly(says(1), ordinaryRendering)).toBeNull();
    expect(() => template.render(says(1), ordinaryRendering)).toThrow(
      expect.toSatisfy(
        (error) => error instanceof ToastError && error.code === "chat_template_failed" && /turns/.test(error.message),
      ) as Error,
    );
  });
});
