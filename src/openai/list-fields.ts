import { z } from "zod";
import { field, shownAs } from "./request-fields.js";

/**
 * Lists and tables of a client's size. zod's own look at every item, and tell what is wrong with each, before they
 * count them: a million wrong items took eight seconds of the thread that answers everybody. These count first, and
 * end at the first item that is wrong, which is all that a client is told.
 */

type Issue = z.core.$ZodIssue;

interface ListLimits {
  /** What it must be: "an array of messages". */
  readonly expected: string;
  /** One of its items: "message". */
  readonly item: string;
  readonly min?: 1;
  readonly max: number;
}

/** What one request may have of anything that is not counted elsewhere; a context of 128k tokens holds no more. */
export const mostItems = 4_096;

/** An array of at most `max`. */
export function list<Item extends z.ZodType>(item: Item, { expected, item: one, min, max }: ListLimits) {
  return shownAs(
    z.unknown().transform((value, context): z.output<Item>[] => {
      if (!Array.isArray(value)) return refuse(context, notA(expected, value));
      if (value.length < (min ?? 0)) return refuse(context, `must hold at least one ${one}.`);
      if (value.length > max) return refuse(context, `takes up to ${max} ${one}s.`);
      const read: z.output<Item>[] = [];
      for (const [index, each] of value.entries()) {
        const parsed = item.safeParse(each);
        if (!parsed.success) return tell(context, parsed.error.issues[0], index);
        read.push(parsed.data);
      }
      return read;
    }),
    bounded(z.array(item), { min, max }),
  );
}

/** An array of token ids; that they lie in the vocabulary is checked where that is known. */
export function tokenIds({ min, max }: { readonly min?: 1; readonly max?: number } = {}) {
  const expected = "an array of token ids";
  return shownAs(
    z.unknown().transform((value, context): readonly number[] => {
      if (!Array.isArray(value)) return refuse(context, notA(expected, value));
      if (value.length < (min ?? 0)) return refuse(context, "must hold at least one token id.");
      if (max !== undefined && value.length > max) return refuse(context, `takes up to ${max} token ids.`);
      const wrong = value.findIndex((id) => !Number.isSafeInteger(id) || id < 0);
      if (wrong === -1) return value;
      context.addIssue({ code: "custom", path: [wrong], message: "must be an integer of at least 0." });
      return z.NEVER;
    }),
    bounded(z.array(z.int().min(0)), { min, max }),
  );
}

/** An object of any keys and values of one kind. */
export function table<Value extends z.ZodType>(item: Value, expected: string) {
  return shownAs(
    z.unknown().transform((value, context): Record<string, z.output<Value>> => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) {
        return refuse(context, notA(expected, value));
      }
      const read: [string, z.output<Value>][] = [];
      for (const [key, each] of Object.entries(value)) {
        const parsed = item.safeParse(each);
        if (!parsed.success) return tell(context, parsed.error.issues[0], key);
        read.push([key, parsed.data]);
      }
      return Object.fromEntries(read);
    }),
    z.record(z.string(), item),
  );
}

function bounded<Item extends z.ZodType>(
  array: z.ZodArray<Item>,
  { min, max }: { readonly min: number | undefined; readonly max: number | undefined },
): z.ZodArray<Item> {
  const least = min === undefined ? array : array.min(min);
  return max === undefined ? least : least.max(max);
}

function notA(expected: string, value: unknown): string {
  return field(expected).error({ input: value });
}

function refuse(context: z.core.$RefinementCtx, message: string): never {
  context.addIssue({ code: "custom", message });
  return z.NEVER;
}

/** As it was found: what kind of issue it is decides what the client reads. */
function tell(context: z.core.$RefinementCtx, issue: Issue | undefined, at: string | number): never {
  if (issue !== undefined)
    context.addIssue({ ...issue, path: [at, ...issue.path] } as Parameters<typeof context.addIssue>[0]);
  return z.NEVER;
}
