/** Two texts, split where they first differ. */
export interface FirstDifference {
  /** UTF-16 length of what both begin with; never inside of a character. */
  readonly at: number;
  readonly kind:
    | "same"
    /** One text is the beginning of the other. */
    | "prefix"
    | "differ";
}

/** @returns where two texts part. */
export function firstDifference(left: string, right: string): FirstDifference {
  const shorter = Math.min(left.length, right.length);
  let at = 0;
  while (at < shorter && left[at] === right[at]) at++;
  if (at === left.length && at === right.length) return { at, kind: "same" };
  if (at === shorter) return { at, kind: "prefix" };
  // Two characters may share their first half (a surrogate); the difference is where the character begins.
  const before = left.charCodeAt(at - 1);
  return { at: before >= 0xd800 && before <= 0xdbff ? at - 1 : at, kind: "differ" };
}
