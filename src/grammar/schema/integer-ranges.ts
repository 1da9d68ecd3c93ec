import { characters, choice, type Expression, literal, nothing, repeat, sequence } from "../expression.js";

const digit = characters([[0x30, 0x39]]);

/**
 * The integers from `low` to `high`, without needless zeros and signs.
 * @param low, high null where there is no bound
 */
export function integersBetween(low: bigint | null, high: bigint | null): Expression {
  const nearest = high === null || high >= 0n ? 1n : -high;
  const negatives = sequence(literal("-"), naturalsBetween(nearest, low === null ? null : -low));
  const positives = high !== null && high < 0n ? choice() : naturalsBetween(low === null || low < 0n ? 0n : low, high);
  return choice(positives, negatives);
}

/** The same, without signs. @param low ≥ 0 */
export function naturalsBetween(low: bigint, high: bigint | null): Expression {
  const options: Expression[] = [];
  const lengths = (high ?? low).toString().length;
  for (let length = low.toString().length; length <= lengths; length++) {
    // Several digits begin with no zero.
    const least = length === 1 ? 0n : 10n ** BigInt(length - 1);
    const most = 10n ** BigInt(length) - 1n;
    const from = low > least ? low : least;
    const to = high !== null && high < most ? high : most;
    if (from <= to) options.push(digitsBetween(String(from), String(to)));
  }
  if (high === null) options.push(sequence(characters([[0x31, 0x39]]), repeat(digit, lengths, null)));
  return choice(...options);
}

/** @param low, high of the same number of digits. */
function digitsBetween(low: string, high: string): Expression {
  if (low === "") return nothing;
  if (/^0*$/.test(low) && /^9*$/.test(high)) return repeat(digit, low.length, low.length);
  const [first, last] = [Number(low.charAt(0)), Number(high.charAt(0))];
  const [lowRest, highRest] = [low.slice(1), high.slice(1)];
  if (first === last) return sequence(literal(String(first)), digitsBetween(lowRest, highRest));
  const options = [sequence(literal(String(first)), digitsBetween(lowRest, "9".repeat(lowRest.length)))];
  if (last - first > 1) {
    const between = characters([[0x31 + first, 0x2f + last]]);
    options.push(sequence(between, repeat(digit, lowRest.length, lowRest.length)));
  }
  options.push(sequence(literal(String(last)), digitsBetween("0".repeat(highRest.length), highRest)));
  return choice(...options);
}
