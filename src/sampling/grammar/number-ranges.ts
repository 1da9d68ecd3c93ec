import { choice, type Expression, literal, nothing, repeat, sequence } from "./expression.js";

const digit: Expression = { kind: "class", set: [[0x30, 0x39]] };

/**
 * The decimal spellings, without needless zeros or signs, of all `n / 10^decimals` with `low ≤ n ≤ high`; each with exactly so many
 * decimals. No option when there is none.
 */
export function numbersBetween(low: bigint, high: bigint, decimals: number): Expression {
  const options: Expression[] = [];
  if (low < 0n) {
    const nearest = high < 0n ? -high : 1n;
    if (nearest <= -low) options.push(sequence(literal("-"), positiveBetween(nearest, -low, decimals)));
  }
  if (high >= 0n) options.push(positiveBetween(low > 0n ? low : 0n, high, decimals));
  return choice(...options);
}

/** One option for each count of digits. */
function positiveBetween(low: bigint, high: bigint, decimals: number): Expression {
  const options: Expression[] = [];
  for (let length = decimals + 1; ; length++) {
    // One digit stands before the point in any case; more begin with no zero.
    const least = length === decimals + 1 ? 0n : 10n ** BigInt(length - 1);
    const most = 10n ** BigInt(length) - 1n;
    if (least > high) return choice(...options);
    const from = low > least ? low : least;
    const to = high < most ? high : most;
    if (from > to) continue;
    options.push(digitsBetween(padded(from, length), padded(to, length), decimals));
  }
}

/** @param low, high strings of the same number of digits. */
function digitsBetween(low: string, high: string, decimals: number): Expression {
  if (low === "") return nothing;
  const point = decimals > 0 && low.length === decimals ? literal(".") : nothing;
  if (/^0*$/.test(low) && /^9*$/.test(high)) return anyDigits(low.length, decimals);
  const [first, last] = [Number(low[0]), Number(high[0])];
  const [lowRest, highRest] = [low.slice(1), high.slice(1)];
  if (first === last) return sequence(point, literal(String(first)), digitsBetween(lowRest, highRest, decimals));
  const options = [sequence(literal(String(first)), digitsBetween(lowRest, "9".repeat(lowRest.length), decimals))];
  if (last - first > 1) {
    const between: Expression = { kind: "class", set: [[0x31 + first, 0x2f + last]] };
    options.push(sequence(between, anyDigits(lowRest.length, decimals)));
  }
  options.push(sequence(literal(String(last)), digitsBetween("0".repeat(highRest.length), highRest, decimals)));
  return sequence(point, choice(...options));
}

function anyDigits(count: number, decimals: number): Expression {
  if (count === 0) return nothing;
  if (decimals === 0 || count < decimals) return repeat(digit, count, count);
  const before = count - decimals;
  return sequence(
    before === 0 ? nothing : repeat(digit, before, before),
    literal("."),
    repeat(digit, decimals, decimals),
  );
}

function padded(value: bigint, length: number): string {
  return value.toString().padStart(length, "0");
}
