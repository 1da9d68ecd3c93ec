import { z } from "zod";
import type { TextQuestion } from "../engine/text-questions.js";
import { responseSchemas } from "../openai/named-schemas.js";
import type { TextEndpoint } from "../openai/text-endpoints.js";
import { type MessageRequest, messageGenerationRequest } from "./message-request.js";

export const tokenCountSchema = z
  .object({ input_tokens: z.int() })
  .describe("Answer of POST /v1/messages/count_tokens.")
  .register(responseSchemas, { id: "MessageTokenCount" });

/** How many tokens a message's prompt has, counted as the engine counts them. */
export function tokenCount(
  request: MessageRequest,
): TextEndpoint<TextQuestion & { readonly kind: "encode" }, z.input<typeof tokenCountSchema>> {
  return {
    name: "countTokens",
    model: request.model,
    ask: (served) => {
      const { prompt, steering } = messageGenerationRequest(request, served);
      return { kind: "encode", prompt, adapter: steering.kind === "steered" ? steering.adapter : null };
    },
    tell: ({ ids }) => ({ input_tokens: ids.length }),
  };
}
