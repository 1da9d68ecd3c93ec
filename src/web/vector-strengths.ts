import { fields, number } from "./wire/read.js";

/** Strengths by name, of what was stored: numbers that are not 0. */
export function strengthsOf(stored: unknown): Readonly<Record<string, number>> {
  const known = Object.entries(fields(stored)).flatMap(([name, value]) => {
    const strength = number(value) ?? 0;
    return strength === 0 ? [] : [[name, Math.min(maxVectorStrength, Math.max(-maxVectorStrength, strength))] as const];
  });
  return Object.fromEntries(known);
}

/** Where the sliders of control vectors end on both sides: text has come apart before. */
export const maxVectorStrength = 2;
