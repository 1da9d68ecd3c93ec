import { InvalidArgumentError } from "commander";

/** Parses an option that counts something. @throws InvalidArgumentError, which commander reports with the option's name. */
export function positiveInteger(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) {
    throw new InvalidArgumentError("It must be a positive integer.");
  }
  return Number(text);
}
