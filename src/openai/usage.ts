import { z } from "zod";
import type { Usage } from "../engine/engine.js";
import { responseSchemas } from "./named-schemas.js";

export const usageSchema = z
  .object({
    prompt_tokens: z.int(),
    completion_tokens: z.int(),
    total_tokens: z.int(),
    prompt_tokens_details: z.object({ cached_tokens: z.int() }),
  })
  .describe("Tokens really computed; `cached_tokens` of the prompt's were kept from earlier requests.")
  .register(responseSchemas, { id: "Usage" });

export function wireUsage(usage: Usage): z.output<typeof usageSchema> {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  };
}
