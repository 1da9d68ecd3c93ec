import DOMPurify from "dompurify";
import { Marked, type Token, type Tokens } from "marked";
import { escapeHtml } from "./escape-html.js";
import { formulaBlock, formulaInLine } from "./formula-tokens.js";

const marked = new Marked({
  extensions: [formulaBlock, formulaInLine],
  gfm: true,
  breaks: true,
  renderer: {
    // Raw HTML is text: a model that writes a tag means to show it.
    html: ({ text }) => escapeHtml(text),
    heading({ tokens, depth }) {
      return `<h${depth}>${this.parser.parseInline(tokens)}</h${depth}>`;
    },
    code: ({ text, lang = "" }) =>
      `<pre><code data-language="${escapeHtml(languageOf(lang))}">${escapeHtml(text)}\n</code></pre>`,
    // No request leaves the page; the picture's words and address stand in its place.
    image: ({ href, text }) => `${escapeHtml(text)} (${escapeHtml(href)})`,
  },
});

/** The first word behind a fence; some write `{.python}`, or a file's name after it. */
function languageOf(info: string): string {
  return /[\w#+.-]+/.exec(info.replace(/^\{?\.?/, ""))?.[0].toLowerCase() ?? "";
}

const allowed = {
  ALLOWED_TAGS: [
    ...["p", "br", "strong", "em", "del", "a", "code", "pre", "blockquote", "hr", "ul", "ol", "li", "input", "span"],
    ...["h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"],
  ],
  ALLOWED_ATTR: ["href", "start", "align", "type", "checked", "disabled", "class", "data-language", "data-formula"],
  ALLOW_DATA_ATTR: false,
  // These are no addresses, and are not to be held against what addresses may be.
  ADD_URI_SAFE_ATTR: ["start", "align", "type", "class", "data-language", "data-formula"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
};

/** The one way by which markup reaches the page. */
export function sanitized(html: string): DocumentFragment {
  return DOMPurify.sanitize(html, { ...allowed, RETURN_DOM_FRAGMENT: true });
}

export interface MarkdownBlock {
  readonly token: Token;
  /** Two blocks with the same one look the same. */
  readonly key: string;
}

export function blocksOf(text: string): readonly MarkdownBlock[] {
  const tokens = marked.lexer(text);
  placeHeadings(tokens);
  return tokens
    .filter(({ type }) => type !== "space" && type !== "def")
    .map((token) => ({ token, key: `${headingsIn([token]).map(({ depth }) => depth)} ${token.raw}` }));
}

/** The page's own headings end here: a model's begin below them, whatever levels it chose. */
const firstLevel = 3;
const lastLevel = 6;

/**
 * Gives headings the levels of an outline that skips none: each stands one level below the nearest heading above it
 * that the model made larger. What follows later changes nothing above.
 */
function placeHeadings(tokens: readonly Token[]): void {
  const above: number[] = [];
  for (const heading of headingsIn(tokens)) {
    while ((above.at(-1) ?? 0) >= heading.depth) above.pop();
    above.push(heading.depth);
    heading.depth = Math.min(lastLevel, firstLevel + above.length - 1);
  }
}

function headingsIn(tokens: readonly Token[]): readonly Tokens.Heading[] {
  const headings: Tokens.Heading[] = [];
  void marked.walkTokens([...tokens], (token) => {
    if (token.type === "heading") headings.push(token as Tokens.Heading);
  });
  return headings;
}

const rightToLeft = /^[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

function startsRightToLeft(text: string): boolean {
  return rightToLeft.test(/\p{L}/u.exec(text)?.[0] ?? "");
}

export function renderBlock(token: Token): DocumentFragment {
  const fragment = sanitized(marked.parser([token]));
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  for (const box of fragment.querySelectorAll("input")) box.setAttribute("aria-label", "task");
  // Each block by its own first letters: an answer may hold Arabic beside English.
  for (const block of fragment.querySelectorAll("p, h3, h4, h5, h6, td, th")) block.setAttribute("dir", "auto");
  // `auto` passes over what has a direction of its own, which is all that these hold.
  for (const box of fragment.querySelectorAll("ul, ol, li, blockquote, table")) {
    box.setAttribute("dir", startsRightToLeft(box.textContent) ? "rtl" : "ltr");
  }
  // Code is none of them: its lines begin on the left, and are reached by keyboard where they are too long.
  for (const code of fragment.querySelectorAll("pre, code")) code.setAttribute("dir", "ltr");
  for (const pre of fragment.querySelectorAll("pre")) pre.tabIndex = 0;
  return fragment;
}
