import { z } from "zod";

/** What other OpenAI-compatible servers answer when something is wrong; not all of them keep to OpenAI's envelope. */
const errorSchema = z.looseObject({ error: z.union([z.string(), z.looseObject({ message: z.string() })]) });

/** @returns the message of an error body or event, null for anything else. */
export function errorText(text: string): string | null {
  const parsed = errorSchema.safeParse(jsonOf(text));
  if (!parsed.success) return null;
  const { error } = parsed.data;
  return typeof error === "string" ? error : error.message;
}

/** @returns null for what is no JSON. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Why a server could not be asked. fetch hides what happened behind "fetch failed"; the cause knows. */
export function failureText(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  const code = "code" in cause ? String(cause.code) : "";
  return cause.message === "" ? code : cause.message;
}
