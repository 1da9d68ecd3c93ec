import { InvalidArgumentError } from "commander";

/**
 * Parses an option that counts something.
 * @throws InvalidArgumentError, which commander reports with the option's name.
 */
export function positiveInteger(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) {
    throw new InvalidArgumentError("It must be a positive integer.");
  }
  return Number(text);
}

/** Parses `1,4,8`. @throws InvalidArgumentError as `positiveInteger`, and for a number that stands twice. */
export function positiveIntegers(text: string): readonly number[] {
  if (!/^[1-9]\d{0,8}(,[1-9]\d{0,8})*$/.test(text)) {
    throw new InvalidArgumentError("It must be positive integers with commas between them.");
  }
  const values = text.split(",").map(Number);
  if (new Set(values).size < values.length) {
    throw new InvalidArgumentError("Each number can stand there once.");
  }
  return values;
}
