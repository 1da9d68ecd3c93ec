/** A set of bytes: bit b of word b >> 5. Never changed once made. */
export type ByteSet = Uint32Array;

/** Inclusive. */
export type ByteRange = readonly [from: number, to: number];

export function byteSet(...ranges: readonly ByteRange[]): ByteSet {
  const set = new Uint32Array(8);
  for (const [from, to] of ranges) {
    for (let byte = from; byte <= to; byte++) set[byte >> 5] = (set[byte >> 5] as number) | (1 << (byte & 31));
  }
  return set;
}

export function hasByte(set: ByteSet, byte: number): boolean {
  return (((set[byte >> 5] as number) >>> (byte & 31)) & 1) === 1;
}

export function unionOf(sets: readonly ByteSet[]): ByteSet {
  const union = new Uint32Array(8);
  for (const set of sets) for (const [word, bits] of set.entries()) union[word] = (union[word] as number) | bits;
  return union;
}

export function isEmptySet(set: ByteSet): boolean {
  return set.every((bits) => bits === 0);
}

/** Bytes that no set of a grammar tells apart: they lead from every state to the same one. */
export interface ByteClasses {
  /** [256] the class of each byte. */
  readonly of: Uint8Array;
  /** One byte of each class. */
  readonly samples: readonly number[];
}

export function byteClasses(sets: Iterable<ByteSet>): ByteClasses {
  const of = new Uint8Array(256);
  let count = 1;
  for (const set of sets) {
    // Splits each class into those within the set and those outside.
    const inside = new Map<number, number>();
    const isOutside = new Set<number>();
    for (let byte = 0; byte < 256; byte++) if (!hasByte(set, byte)) isOutside.add(of[byte] as number);
    for (let byte = 0; byte < 256; byte++) {
      const old = of[byte] as number;
      if (!hasByte(set, byte) || !isOutside.has(old)) continue;
      const now = inside.get(old) ?? count++;
      inside.set(old, now);
      of[byte] = now;
    }
  }
  return { of, samples: Array.from({ length: count }, (_, index) => of.indexOf(index)) };
}
