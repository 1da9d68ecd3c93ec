import { z } from "zod";
import type { Prompt } from "../engine/prompt.js";
import { list, tokenIds } from "./list-fields.js";
import { shownAs, text } from "./request-fields.js";

const forms = "a string, an array of strings, an array of token ids or an array of such arrays";
const ids = tokenIds({ min: 1 });
/** As many inputs as one request for embeddings may have. */
export const mostPrompts = 2_048;

/** A text or token ids, as completions and embeddings take them. */
export type WirePrompt = string | readonly number[];

/**
 * One or several. Told apart by the first item, so that a mistake in a long list is named by its place and not by four
 * possible shapes.
 */
export function textsOrTokens(description: string) {
  return shownAs(
    z.unknown().transform((value, context): readonly WirePrompt[] => {
      const schema = schemaFor(value);
      if (schema === null) {
        const problem = value === undefined ? "is missing; it must be" : "must be";
        context.addIssue({ code: "custom", message: `${problem} ${forms}.` });
        return z.NEVER;
      }
      const parsed = schema.safeParse(value);
      if (parsed.success) return parsed.data;
      for (const { path, message } of parsed.error.issues.slice(0, 1)) {
        context.addIssue({ code: "custom", path, message });
      }
      return z.NEVER;
    }),
    z.union([z.string(), z.array(z.string()), z.array(z.int()), z.array(z.array(z.int()))]).describe(description),
  );
}

function schemaFor(value: unknown): z.ZodType<readonly WirePrompt[]> | null {
  if (typeof value === "string") return text().transform((one) => [one]);
  if (!Array.isArray(value) || value.length === 0) return null;
  switch (typeof value[0]) {
    case "string":
      return list(text(), { expected: forms, item: "string", max: mostPrompts });
    case "number":
      return ids.transform((one) => [one]);
    default:
      return Array.isArray(value[0]) ? list(ids, { expected: forms, item: "array", max: mostPrompts }) : null;
  }
}

/** @param addSpecialTokens whether a text gets the tokenizer's own tokens around it; null: it does. */
export function enginePrompt(prompt: WirePrompt, addSpecialTokens: boolean | null): Prompt {
  return typeof prompt === "string"
    ? { kind: "text", text: prompt, addSpecialTokens: addSpecialTokens ?? true }
    : { kind: "tokens", ids: prompt };
}
