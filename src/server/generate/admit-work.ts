import type { GenerationRequest } from "../../engine/generation-request.js";
import { ToastError } from "../../errors.js";

/**
 * Refuses a request that asks for more text than one request may: choices × tokens, of all its prompts. One answer that
 * fills the context is always taken. Pure.
 * @param most tokens.
 * @throws ToastError `invalid_request`
 */
export function admitWork(
  generations: readonly Pick<GenerationRequest, "choices" | "maxTokens">[],
  contextLength: number,
  most: number,
): void {
  const tokensOf = ({ maxTokens }: (typeof generations)[number]) => Math.min(maxTokens ?? contextLength, contextLength);
  const tokens = generations.reduce((sum, one) => sum + one.choices * tokensOf(one), 0);
  const allowed = Math.max(most, contextLength);
  if (tokens <= allowed) return;
  const [first] = generations;
  const answers = generations.reduce((sum, { choices }) => sum + choices, 0);
  const each = first === undefined ? 0 : tokensOf(first);
  const unsaid = first?.maxTokens === null ? " ('max_tokens' says nothing less)" : "";
  const message = `${answers} answers of up to ${each} tokens each${unsaid} are ${tokens} tokens; one request may ask for ${allowed}. Ask for fewer answers, set a smaller 'max_tokens', or send several requests.`;
  throw new ToastError("invalid_request", message, { param: generations.length > 1 ? "prompt" : "n" });
}
