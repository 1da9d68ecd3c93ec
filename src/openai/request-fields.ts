import { z } from "zod";
import { ToastError } from "../errors.js";

/** @returns zod's error option for a field of the wrong type or out of shape: "must be <expected>." */
export function field(expected: string) {
  return {
    error: (issue: { readonly input?: unknown; readonly code?: string; readonly keys?: readonly string[] }) => {
      if (issue.code === "unrecognized_keys") {
        return `has no field '${issue.keys?.[0] ?? ""}'.`;
      }
      return issue.input === undefined ? `is missing; it must be ${expected}.` : `must be ${expected}.`;
    },
  };
}

/** A field that may be left out or null; both read as null. */
export function optional<Schema extends z.ZodType>(schema: Schema) {
  return schema.nullish().transform((value) => value ?? null);
}

/** Marks an issue as a refusal; compared by identity. */
const unsupported = { unsupported: true };

/**
 * Reports a known field that this server cannot honour. Told apart from a malformed one by its code, so that a client
 * can drop the field instead of looking for a typo.
 */
export function refuse(context: z.core.$RefinementCtx, message: string, path: PropertyKey[] = []): never {
  context.addIssue({ code: "custom", message, path, params: unsupported });
  return z.NEVER;
}

/** @returns the first problem as the client should read it: its own name of the field, then what is wrong with it. */
export function firstIssueAsError(error: z.ZodError): ToastError {
  const issue = error.issues[0];
  if (issue === undefined) {
    return new ToastError("invalid_request", "The request is not valid.");
  }
  if (issue.code === "custom" && issue.params === unsupported) {
    return new ToastError("unsupported_parameter", issue.message, { param: paramOf(issue.path) });
  }
  const unknownKey = issue.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const param = paramOf(unknownKey === undefined ? issue.path : [...issue.path, unknownKey]);
  const subject = paramOf(issue.path);
  return new ToastError(
    "invalid_request",
    `${subject === null ? "The request body" : `'${subject}'`} ${issue.message}`,
    {
      param,
    },
  );
}

/** @returns `messages[0].content[1].text`, null for the body itself. */
function paramOf(path: readonly PropertyKey[]): string | null {
  const text = path.reduce<string>(
    (sum, part) =>
      typeof part === "number" ? `${sum}[${part}]` : sum === "" ? String(part) : `${sum}.${String(part)}`,
    "",
  );
  return text === "" ? null : text;
}
