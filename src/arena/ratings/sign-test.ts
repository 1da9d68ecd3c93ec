/**
 * The exact two-sided sign test: how likely wins and losses at least as uneven would be if both were equally likely.
 * Ties say nothing and stay out.
 * @returns the p-value; 1 when there is nothing to test.
 * @see Conover, "Practical Nonparametric Statistics", 3rd edition, section 3.4.
 */
export function signTest(wins: number, losses: number): number {
  const games = wins + losses;
  const fewer = Math.min(wins, losses);
  if (wins === losses) return 1;
  // log of C(games, k) / 2^games, from k to k + 1.
  let logTerm = -games * Math.LN2;
  let tail = 0;
  for (let k = 0; k <= fewer; k++) {
    tail += Math.exp(logTerm);
    logTerm += Math.log((games - k) / (k + 1));
  }
  return Math.min(1, 2 * tail);
}
