import type { Token } from "marked";
import { render } from "preact";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { CodeHead } from "./markdown/code-head.js";
import { withHighlights, withTypesetFormulas } from "./markdown/on-demand.js";
import { blocksOf, renderBlock } from "./markdown/render-block.js";
import "./markdown/markdown.css";

/**
 * Model text as formatted text. Growing text is cheap: a block is rendered again only when its own source has changed.
 * Whatever the source says, only what DOMPurify lets through reaches the page: no script, style or outside picture.
 * What colours code and sets formulas is loaded with the first of them.
 */
export function Markdown({ text }: { readonly text: string }) {
  const blocks = useMemo(() => blocksOf(text), [text]);
  return (
    <div class="markdown">
      {blocks.map(({ token, key }, at) => (
        <Block key={at} token={token} source={key} />
      ))}
    </div>
  );
}

function Block({ token, source }: { readonly token: Token; readonly source: string }) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const fragment = renderBlock(token);
    const heads = [...fragment.querySelectorAll<HTMLElement>("pre > code")].map(withHead);
    withHighlights(fragment);
    withTypesetFormulas(fragment);
    box.current?.replaceChildren(fragment);
    return () => {
      for (const head of heads) render(null, head);
    };
  }, [source]);
  return <div ref={box} />;
}

/** Gives a block of code a line with its language and a button that copies it. */
function withHead(code: HTMLElement): HTMLElement {
  const frame = document.createElement("div");
  frame.className = "code-block";
  const head = document.createElement("div");
  head.className = "code-head";
  const pre = code.parentElement;
  pre?.replaceWith(frame);
  frame.append(head, ...(pre === null ? [] : [pre]));
  render(<CodeHead code={code.textContent} language={code.getAttribute("data-language") ?? ""} />, head);
  return head;
}
