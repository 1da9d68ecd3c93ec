import { z } from "zod";
import type { Prompt } from "../engine/prompt.js";
import { field, integer, shownAs, text } from "./request-fields.js";

const forms = "a string, an array of strings, an array of token ids or an array of such arrays";
const tokenIds = z.array(integer(0), field("an array of token ids")).min(1, "must hold at least one token id.");

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
      return z.array(text());
    case "number":
      return tokenIds.transform((ids) => [ids]);
    default:
      return Array.isArray(value[0]) ? z.array(tokenIds) : null;
  }
}

/** @param addSpecialTokens whether a text gets the tokenizer's own tokens around it; null: it does. */
export function enginePrompt(prompt: WirePrompt, addSpecialTokens: boolean | null): Prompt {
  return typeof prompt === "string"
    ? { kind: "text", text: prompt, addSpecialTokens: addSpecialTokens ?? true }
    : { kind: "tokens", ids: prompt };
}
