import { z } from "zod";
import type { HttpError } from "../openai/error-envelope.js";
import { responseSchemas } from "../openai/named-schemas.js";

export const ollamaErrorSchema = z
  .object({ error: z.string() })
  .describe("What every refusal and failure of Ollama's routes says.")
  .register(responseSchemas, { id: "OllamaError" });

/** An error as Ollama's clients read it; the status stays. */
export function ollamaError({ envelope: { error } }: HttpError): z.output<typeof ollamaErrorSchema> {
  return { error: error.message };
}
