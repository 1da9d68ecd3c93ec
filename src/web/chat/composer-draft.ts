import { signal } from "@preact/signals";

/** What is being written; it outlives the view, so that a look at another tab costs nothing. */
export const draft = signal("");
