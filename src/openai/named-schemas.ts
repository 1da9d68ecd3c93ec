import { z } from "zod";

/** Schemas that the document of the interface calls by a name, given where each stands. What clients send, */
export const requestSchemas = z.registry<{ readonly id: string }>();
/** and what the server sends; the types of its builders come from the same schemas. */
export const responseSchemas = z.registry<{ readonly id: string }>();
