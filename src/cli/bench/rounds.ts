/**
 * Measures every case once a round, in turn (A B C A B C …): what the machine does meanwhile then falls on all that is
 * compared.
 * @param onRun told of the share that is behind it.
 * @returns the values of each case, one a round.
 */
export async function inRounds<Case, Value>(
  rounds: number,
  cases: readonly Case[],
  measure: (one: Case, round: number) => Promise<Value>,
  onRun: (fraction: number) => void,
): Promise<readonly { readonly case: Case; readonly values: readonly Value[] }[]> {
  const results = cases.map((one) => ({ case: one, values: [] as Value[] }));
  let done = 0;
  for (let round = 0; round < rounds; round++) {
    for (const { case: one, values } of results) {
      onRun(done++ / (rounds * cases.length));
      values.push(await measure(one, round));
    }
  }
  return results;
}
