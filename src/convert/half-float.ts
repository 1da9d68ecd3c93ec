/** float32 of each of the 65,536 half-precision bit patterns. */
const halfToFloat = Float32Array.from({ length: 65536 }, (_, bits) => {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
});

/** The value of a half-precision bit pattern. */
export function floatOfHalf(bits: number): number {
  return halfToFloat[bits] ?? Number.NaN;
}
