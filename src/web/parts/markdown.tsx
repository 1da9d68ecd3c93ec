import DOMPurify from "dompurify";
import { Marked, type Token, type TokenizerAndRendererExtension } from "marked";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import "./markdown.css";

/** Formulas keep their source: Markdown would take their backslashes and underscores. */
const formula: TokenizerAndRendererExtension = {
  name: "formula",
  level: "inline",
  start: (source) => /\\[([]|\$\$/.exec(source)?.index,
  tokenizer(source) {
    const raw = /^(?:\\\(.+?\\\)|\\\[[\s\S]+?\\\]|\$\$[\s\S]+?\$\$)/.exec(source)?.[0];
    return raw === undefined ? undefined : { type: "formula", raw };
  },
  renderer: ({ raw }) => `<code>${escapeHtml(raw)}</code>`,
};

const marked = new Marked({
  extensions: [formula],
  gfm: true,
  breaks: true,
  renderer: {
    // Raw HTML is text: a model that writes a tag means to show it.
    html: ({ text }) => escapeHtml(text),
    // The page's own headings are above: a model's begin below them.
    heading({ tokens, depth }) {
      const level = Math.min(6, depth + 2);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    // No request leaves the page; the picture's words and address stand in its place.
    image: ({ href, text }) => `${escapeHtml(text)} (${escapeHtml(href)})`,
  },
});

const allowed = {
  ALLOWED_TAGS: [
    ...["p", "br", "strong", "em", "del", "a", "code", "pre", "blockquote", "hr", "ul", "ol", "li", "input"],
    ...["h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"],
  ],
  ALLOWED_ATTR: ["href", "start", "align", "type", "checked", "disabled"],
  // These are no addresses, and are not to be held against what addresses may be.
  ADD_URI_SAFE_ATTR: ["start", "align", "type"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
};

/**
 * Model text as formatted text. Growing text is cheap: a block is rendered again only when its own source has changed.
 * Whatever the source says, only the tags above reach the page (DOMPurify), and no script, style or outside picture.
 */
export function Markdown({ text }: { readonly text: string }) {
  const blocks = useMemo(() => marked.lexer(text).filter(({ type }) => type !== "space" && type !== "def"), [text]);
  return (
    <div class="markdown">
      {blocks.map((token, at) => (
        <Block key={at} token={token} />
      ))}
    </div>
  );
}

function Block({ token }: { readonly token: Token }) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const fragment = DOMPurify.sanitize(marked.parser([token]), { ...allowed, RETURN_DOM_FRAGMENT: true });
    for (const link of fragment.querySelectorAll("a")) {
      link.target = "_blank";
      link.rel = "noopener noreferrer";
    }
    for (const box of fragment.querySelectorAll("input")) {
      box.setAttribute("aria-label", "task");
    }
    // Each block by its own first letters: an answer may hold Arabic beside English.
    for (const block of fragment.querySelectorAll("p, ul, ol, li, blockquote, h1, h2, h3, h4, h5, h6, td, th")) {
      block.setAttribute("dir", "auto");
    }
    box.current?.replaceChildren(fragment);
  }, [token.raw]);
  return <div ref={box} />;
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
