import { z } from "zod";
import { refused, type ServerClient } from "../server-client.js";
import { blocksOf, type Perplexity, type PerplexitySettings, PerplexitySum } from "./perplexity.js";

/** vLLM's, and ours. */
const tokenizedSchema = z.looseObject({ tokens: z.array(z.int().nonnegative()) });
const completionSchema = z.looseObject({
  choices: z.tuple([
    z.looseObject({
      text: z.string(),
      logprobs: z.looseObject({ token_logprobs: z.array(z.number().nullable()) }),
    }),
  ]),
});

/**
 * Scores the texts with a model as it is served: `echo` with `logprobs` tells what it thinks of a prompt.
 * Bytes are those of the echoed text, which lacks the space that a later block may begin with.
 * @throws ToastError `server_refused`
 */
export async function measureServer(
  client: ServerClient,
  model: string,
  texts: readonly string[],
  settings: PerplexitySettings,
  stop: AbortSignal,
  onProgress: (fraction: number) => void,
): Promise<Perplexity> {
  const tokenized = async (prompt: string, withStart: boolean) => {
    const response = await client.post("/../tokenize", { model, prompt, add_special_tokens: withStart }, stop);
    return (await client.read(response, tokenizedSchema, "the tokens of a text")).tokens;
  };
  const start = await tokenized("", true);
  const texted: number[][] = [];
  let known = 0;
  for (const text of texts) {
    if (known >= settings.maxTokens) break;
    const ids = await tokenized(text, false);
    known += ids.length;
    texted.push(ids);
  }
  const blocks = blocksOf(texted, start, settings);
  const sum = new PerplexitySum();
  for (const [index, { ids, predicted }] of blocks.entries()) {
    onProgress(index / blocks.length);
    const question = { model, prompt: ids, max_tokens: 0, echo: true, logprobs: 1 };
    const response = await client.post("/completions", question, stop);
    const [{ text, logprobs }] = (await client.read(response, completionSchema, "a completion with logprobs")).choices;
    // The first token of a prompt has no probability.
    const scores = logprobs.token_logprobs.slice(-predicted.length).filter((score) => score !== null);
    if (logprobs.token_logprobs.length !== ids.length || scores.length !== predicted.length) {
      throw refused(`${client.baseUrl} told ${scores.length} log probabilities of ${predicted.length} tokens`);
    }
    sum.add(scores, Buffer.byteLength(text));
  }
  return sum.of(model, null);
}
