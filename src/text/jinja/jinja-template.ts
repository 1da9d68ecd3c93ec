import { parse, tokenize } from "@huggingface/jinja";
import { mostTemplateWork, render } from "./evaluate.js";
import type { Node } from "./nodes.js";
import { plainSource } from "./plain-source.js";
import { fromJson } from "./values.js";

/**
 * A Jinja template that renders as transformers renders it (Jinja2 in a sandbox, blocks trimmed, `tojson` as
 * `json.dumps`). The grammar is the vendor's, the values are ours: those of its interpreter are JavaScript's where
 * templates are written for Python's (`'1' == 1`, `lstrip('\n')`, lengths in UTF-16, …).
 */
export class JinjaTemplate {
  readonly #program: Node;

  /** @throws TemplateError, SyntaxError for what cannot be read */
  constructor(source: string) {
    const tokens = tokenize(plainSource(source), { lstrip_blocks: true, trim_blocks: true });
    this.#program = parse(tokens) as unknown as Node;
  }

  /**
   * @param variables JSON-like values, and {@link Callable}s.
   * @throws TemplateError, TooMuchWork
   */
  render(variables: Readonly<Record<string, unknown>>, mostWork: number = mostTemplateWork): string {
    const values = new Map(Object.entries(variables).map(([name, value]) => [name, fromJson(value)]));
    return render(this.#program, values, mostWork);
  }
}
