/** Inclusive range of Unicode scalar values. */
export type CodePointRange = readonly [from: number, to: number];

/** A set of Unicode scalar values (surrogates are none): sorted ranges with gaps between them. */
export type CodePoints = readonly CodePointRange[];

/** Everything that UTF-8 can spell. */
export const allCodePoints: CodePoints = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
];

export function codePoints(...ranges: readonly CodePointRange[]): CodePoints {
  const sorted = ranges.toSorted((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

export function union(...sets: readonly CodePoints[]): CodePoints {
  return codePoints(...sets.flat());
}

export function intersection(a: CodePoints, b: CodePoints): CodePoints {
  return a.flatMap(([from, to]) =>
    b.flatMap(([otherFrom, otherTo]): CodePointRange[] => {
      const start = Math.max(from, otherFrom);
      const end = Math.min(to, otherTo);
      return start <= end ? [[start, end]] : [];
    }),
  );
}

/** All others that UTF-8 can spell. */
export function complement(set: CodePoints): CodePoints {
  const gaps: CodePointRange[] = [];
  let next = 0;
  for (const [from, to] of set) {
    if (from > next) gaps.push([next, from - 1]);
    next = to + 1;
  }
  if (next <= 0x10ffff) gaps.push([next, 0x10ffff]);
  return intersection(gaps, allCodePoints);
}

export function difference(a: CodePoints, b: CodePoints): CodePoints {
  return intersection(a, complement(b));
}

export function contains(set: CodePoints, codePoint: number): boolean {
  return set.some(([from, to]) => from <= codePoint && codePoint <= to);
}
