const { VITEST, TOAST_ASSERT } = process.env;
const asserts = VITEST !== undefined || TOAST_ASSERT !== undefined;

/**
 * An element that is known to be there, at an index that comes from elsewhere: a token id, an offset.
 * `values[index] ?? 0` would read a wrong one as 0; this throws in tests, and where TOAST_ASSERT is set.
 *
 * Loops to an array's own length read `values[index] as number`: they cannot be wrong, and a call for each token of the
 * vocabulary makes a draw up to a fifth slower. For one kind of array, for the same reason: V8 compiles a read by the
 * kinds that it has seen there.
 * @throws RangeError for an index that is none, where that is checked
 */
export function at(values: Float32Array, index: number): number {
  const value = values[index];
  if (asserts && value === undefined)
    throw new RangeError(`there is no element ${index} in an array of ${values.length}`);
  return value as number;
}
