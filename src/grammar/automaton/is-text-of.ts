import type { Expression } from "../expression.js";
import { Pace } from "../pace.js";
import { CompiledRules } from "./compile-rules.js";

/** Whether a text is one of an expression's, which refers to no rule. */
export function isTextOf(expression: Expression, text: string): boolean {
  const rules = new CompiledRules(new Map([["root", expression]]), new Pace());
  rules.prepare();
  const bytes = new TextEncoder().encode(text);
  return bytes.reduce((rest, byte) => rules.derivatives.by(rest, rules.classes.of[byte] as number), rules.root())
    .isNullable;
}
