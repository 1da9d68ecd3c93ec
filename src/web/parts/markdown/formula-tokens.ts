import type { TokenizerAndRendererExtension, Tokens } from "marked";
import { escapeHtml } from "./escape-html.js";

/** Formulas keep their source: Markdown would take their backslashes and underscores. */

const doubles = /^(?:\\\[[\s\S]+?\\\]|\$\$[\s\S]+?\$\$)/;

/**
 * Between two single dollars, where both cling to the formula and no word goes on behind them: "$5 and $10" is money,
 * "US$5" too, and "$HOME:$PATH" are variables.
 */
const singles = /^(?:\\\(.+?\\\)|\$(?![\s$])(?:\\.|[^\\$\n])*?(?:\\.|[^\\$\s])\$(?![\w$]))/;

const opening = /\\[([]|(?<![\w$\\])\$/;

export const formulaInLine: TokenizerAndRendererExtension = {
  name: "formula",
  level: "inline",
  start: (source) => opening.exec(source)?.index,
  tokenizer(source) {
    const double = doubles.exec(source)?.[0];
    const raw = double ?? singles.exec(source)?.[0];
    return raw === undefined ? undefined : { type: "formula", raw, style: double === undefined ? "inline" : "block" };
  },
  renderer: formulaHtml,
};

/** On lines of its own: its lines may look like lists or headings. */
export const formulaBlock: TokenizerAndRendererExtension = {
  name: "formulaBlock",
  level: "block",
  start: (source) => /(?<=^|\n) {0,3}(?:\\\[|\$\$)/.exec(source)?.index,
  tokenizer(source) {
    const raw = /^ {0,3}(?:\\\[[\s\S]+?\\\]|\$\$[\s\S]+?\$\$)[ \t]*(?:\n|$)/.exec(source)?.[0];
    return raw === undefined ? undefined : { type: "formulaBlock", raw, style: "block" };
  },
  renderer: (token) => `<p>${formulaHtml(token)}</p>`,
};

/** Its source until it is set, and where it cannot be. */
function formulaHtml({ raw, style }: Tokens.Generic): string {
  return `<code data-formula="${style}">${escapeHtml(raw.trim())}</code>`;
}
