/** A decimal number of any size: `digits` / 10^`decimals`. */
export interface Decimal {
  readonly digits: bigint;
  /** ≥ 0, and as few as the number needs. */
  readonly decimals: number;
}

/** Places before and behind the point that are written out: an exponent may ask for billions. */
const maxPlaces = 2_000;

/** @param text a JSON number. @returns null where its exponent is beyond all use. */
export function decimalOf(text: string): Decimal | null {
  const [, sign = "", whole = "", fraction = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const shift = Number(exponent);
  let digits = BigInt(whole + fraction);
  if (digits === 0n) return { digits: 0n, decimals: 0 };
  if (Math.abs(shift) > maxPlaces || text.length > maxPlaces) return null;
  let decimals = fraction.length - shift;
  for (; decimals < 0; decimals++) digits *= 10n;
  for (; decimals > 0 && digits % 10n === 0n; decimals--) digits /= 10n;
  return { digits: sign === "-" ? -digits : digits, decimals };
}

export function compareDecimals(a: Decimal, b: Decimal): number {
  const places = Math.max(a.decimals, b.decimals);
  const difference = scaled(a, places) - scaled(b, places);
  return difference === 0n ? 0 : difference < 0n ? -1 : 1;
}

/** @returns the number times 10^`decimals`; `decimals` are as many as it has at least. */
export function scaled({ digits, decimals }: Decimal, to: number): bigint {
  return digits * 10n ** BigInt(to - decimals);
}
