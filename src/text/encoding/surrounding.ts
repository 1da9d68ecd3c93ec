import type { PartSpecification, TemplateItem } from "./specification.js";

/** The ids that a tokenizer puts around a text by itself. */
export interface Surrounding {
  readonly before: readonly number[];
  readonly behind: readonly number[];
}

const nothing: Surrounding = { before: [], behind: [] };

/** @throws Error for a post-processor that does other than put ids around a text */
export function surroundingOf(part: PartSpecification | null | undefined): Surrounding {
  if (part === null || part === undefined) return nothing;
  switch (part.type) {
    // Changes which places of the text belong to a token, and no ids.
    case "ByteLevel":
      return nothing;
    case "Sequence":
      return (part.processors ?? []).map(surroundingOf).reduce(
        (inner, outer) => ({
          before: [...outer.before, ...inner.before],
          behind: [...inner.behind, ...outer.behind],
        }),
        nothing,
      );
    case "TemplateProcessing": {
      const { single = [], special_tokens: known = {} } = part;
      const place = single.findIndex((item) => item.Sequence !== undefined);
      if (place === -1) throw new Error("its post-processor leaves the text out");
      const ids = (items: readonly TemplateItem[]) =>
        items.flatMap(({ SpecialToken: token }) => known[token?.id ?? ""]?.ids ?? []);
      return { before: ids(single.slice(0, place)), behind: ids(single.slice(place + 1)) };
    }
    case "BertProcessing":
    case "RobertaProcessing":
      if (part.cls === undefined || part.sep === undefined) throw new Error("its post-processor has no cls or sep");
      return { before: [part.cls[1]], behind: [part.sep[1]] };
    default:
      throw new Error(`its post-processor ${part.type} is not supported`);
  }
}
