import temml from "temml";

/**
 * A formula in MathML, which browsers set themselves: no fonts and no styles come with it. Its nodes are built one by
 * one, no string becomes markup, and TeX that would load or link something is not trusted.
 * @param source with its delimiters.
 * @returns null for what is not well formed, such as a formula that is still being written.
 */
export function typeset(source: string, isBlock: boolean): HTMLElement | null {
  const box = document.createElement("span");
  box.className = isBlock ? "formula block" : "formula";
  // A formula too wide for the page scrolls, and what scrolls can be reached by keyboard.
  if (isBlock) box.tabIndex = 0;
  try {
    temml.render(withoutDelimiters(source), box, { displayMode: isBlock, throwOnError: true, annotate: true });
    return box;
  } catch {
    return null;
  }
}

function withoutDelimiters(source: string): string {
  return /^\$(?!\$)/.test(source) ? source.slice(1, -1) : source.slice(2, -2);
}
