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

export function number(min: number, max: number) {
  const expected = `a number from ${min} to ${max}`;
  return z.number(field(expected)).min(min, `must be ${expected}.`).max(max, `must be ${expected}.`);
}

export function integer(min: number, max?: number) {
  const expected = max === undefined ? `an integer of at least ${min}` : `an integer from ${min} to ${max}`;
  const schema = z.int(field(expected)).min(min, `must be ${expected}.`);
  return max === undefined ? schema : schema.max(max, `must be ${expected}.`);
}

export function flag() {
  return z.boolean(field("a boolean"));
}

/** Text that goes to a tokenizer. */
export function text(expected = "a string") {
  return z.string(field(expected)).overwrite(wellFormed);
}

/** JSON may carry half of a surrogate pair (`"\ud800"`), which no tokenizer has a byte for; it becomes U+FFFD. */
function wellFormed(value: string): string {
  return value.toWellFormed();
}

/**
 * What the document of the interface shows in place of a schema whose input zod cannot see, one behind `preprocess`
 * say.
 */
export const shownShapes = new WeakMap<z.core.$ZodType, z.ZodType>();

/** @returns `schema`, documented as `shape`. */
export function shownAs<Schema extends z.ZodType>(schema: Schema, shape: z.ZodType): Schema {
  shownShapes.set(schema, shape);
  return schema;
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

/**
 * @returns what `schema` makes of a request's body.
 * @throws ToastError `invalid_request` or `unsupported_parameter`, with the `param` at fault.
 */
export function parseBody<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const parsed = schema.safeParse(body);
  if (!parsed.success) {
    throw firstIssueAsError(parsed.error);
  }
  return parsed.data;
}

/** @returns the first problem as the client should read it: its own name of the field, then what is wrong with it. */
function firstIssueAsError(error: z.ZodError): ToastError {
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

/**
 * @returns `messages[0].content[1].text`, null for the body itself. A client's own keys may be long; what is shown is
 *   not.
 */
function paramOf(path: readonly PropertyKey[]): string | null {
  const whole = path.reduce<string>(
    (sum, part) =>
      typeof part === "number" ? `${sum}[${part}]` : sum === "" ? String(part) : `${sum}.${String(part)}`,
    "",
  );
  return whole === "" ? null : whole.slice(0, 200);
}
