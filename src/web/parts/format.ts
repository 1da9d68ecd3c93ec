/** Numbers and words as the page writes them. */

/** 0.123 → "0.12", 1 → "1", 12.34 → "12.3". */
export function short(value: number): string {
  return String(Number(value.toPrecision(value >= 100 ? 4 : value >= 10 ? 3 : 2)));
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

export function milliseconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function lowerFirst(sentence: string): string {
  return sentence.slice(0, 1).toLowerCase() + sentence.slice(1);
}

export function upperFirst(sentence: string): string {
  return sentence.slice(0, 1).toUpperCase() + sentence.slice(1);
}
