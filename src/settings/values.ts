import { resolve } from "node:path";
import { z } from "zod";
import { pathOrHubName } from "../hub/hub-name.js";

/**
 * What settings take, as schemas from the text of a flag to a value. Their messages go on from the flag: "--port must
 * be …".
 */

export const text = z.string().min(1, "must not be empty");

export const path = text.transform((value) => resolve(value));
export const modelPlace = text.transform((word) => pathOrHubName(word));

/** Long enough that nobody guesses it; anything shorter is somebody's password. */
export const key = z
  .string()
  .regex(
    /^[\x21-\x7e]{16,256}$/,
    "must have 16 to 256 characters and no space: 'toast-serve keys create' makes a good one",
  );

export const servedName = z
  .string()
  .regex(/^[^\s:]{1,200}$/, "must be a name without blanks and ':', 200 characters at most");

export const origin = z
  .string()
  .regex(
    /^(\*|null|[a-z][a-z\d+.-]*:\/\/[^\s/]+)$/i,
    "must be an origin such as https://chat.example, without a path, or '*'",
  )
  .transform((value) => value.toLowerCase());

export const hostName = z
  .string()
  .regex(/^(\*|[^\s/:]+|\[[\da-f:.]+\])$/i, "must be a name or an address without a port, or '*'")
  .transform((value) => value.toLowerCase());

export const postgresUrl = z
  .string()
  .regex(/^postgres(ql)?:\/\//, "must be a URL such as postgres://user:password@host:5432/database");

export const yesOrNo = oneOf(["true", "false", "1", "0", "yes", "no"]).transform((word) =>
  ["true", "1", "yes"].includes(word),
);

export const bytesOfMegabytes = integer(1, 2 ** 24).transform((value) => value * 1e6);

export const shareOfPercent = integer(0, 100).transform((value) => value / 100);

export function oneOf<const Word extends string>(words: readonly Word[]): z.ZodType<Word, string> {
  return z
    .string()
    .refine(
      (value): value is Word => (words as readonly string[]).includes(value),
      `must be one of ${words.join(", ")}`,
    );
}

export function integer(min: number, max: number): z.ZodType<number, string> {
  return bounded(/^\d{1,15}$/, min, max, `must be an integer from ${min} to ${max}`);
}

/** @returns milliseconds of seconds. */
export function seconds(min: number, max: number): z.ZodType<number, string> {
  const message = `must be a number of seconds from ${min} to ${max}`;
  return bounded(/^\d{1,9}(\.\d{1,9})?$/, min, max, message).transform((value) => 1000 * value);
}

/** Milliseconds of seconds; null for 0, which is no limit. */
export const timeout = seconds(0, 86_400).transform((milliseconds) => milliseconds || null);

function bounded(pattern: RegExp, min: number, max: number, message: string): z.ZodType<number, string> {
  return z.string().regex(pattern, message).transform(Number).pipe(z.number().min(min, message).max(max, message));
}
