import { signal } from "@preact/signals";

const query = matchMedia("(max-width: 1099px)");

/** Whether the page has no room for side columns; the same width as in the styles. */
export const isNarrow = signal(query.matches);
query.addEventListener("change", () => {
  isNarrow.value = query.matches;
});
