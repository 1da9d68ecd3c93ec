import { signal } from "@preact/signals";
import type { Attachment } from "./attachments/attachment.js";

/** What is being written; it outlives the view, so that a look at another tab costs nothing. */
export const draft = signal("");
/** The files that go with it. */
export const attached = signal<readonly Attachment[]>([]);
