import type { z } from "zod";

/** The first thing that a schema did not like, as part of a sentence: where and what. */
export function schemaIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return "it is not valid";
  const where = issue.path.length === 0 ? "" : `${issue.path.join(".")}: `;
  return `${where}${issue.message.replace(/^Invalid input: /, "")}`;
}
