import { createParser } from "eventsource-parser";
import { z } from "zod";
import { errorText, failureText, jsonOf } from "../../remote-response.js";

/** What to ask of a server that speaks OpenAI's chat completions. */
export interface CompletionQuestion {
  readonly model: string;
  readonly prompt: string;
  readonly tokens: number;
  readonly temperature: number;
  readonly seed: number;
  /** Sends `ignore_eos`, which is no part of OpenAI's interface. */
  readonly ignoreEos: boolean;
}

/** One streamed answer, seen from its client. */
export type CompletionOutcome =
  | {
      readonly kind: "answered";
      readonly firstTokenMs: number;
      /** Between two texts. */
      readonly gapsMs: readonly number[];
      /** As the server counts them, or else texts. */
      readonly tokens: number;
    }
  | { readonly kind: "failed"; readonly reason: string };

const chunkSchema = z.looseObject({
  choices: z.array(z.looseObject({ delta: z.looseObject({ content: z.string().nullish() }).nullish() })).default([]),
  usage: z.looseObject({ completion_tokens: z.number() }).nullish(),
});
/**
 * Asks once and reads the stream to its end. A failure of any kind is an outcome: a load generator counts them.
 * @param endpoint the URL of chat completions.
 * @param stop ends the request; its reason is thrown.
 */
export async function streamCompletion(
  endpoint: string,
  apiKey: string | null,
  question: CompletionQuestion,
  stop: AbortSignal,
): Promise<CompletionOutcome> {
  const startedAt = performance.now();
  const arrivals: number[] = [];
  const seen: { counted: number | null; error: string | null } = { counted: null, error: null };
  try {
    const response = await fetch(endpoint, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify(bodyOf(question)),
      signal: stop,
    });
    if (!response.ok || response.body === null) {
      const detail = errorText(await response.text());
      return { kind: "failed", reason: `${response.status} ${detail ?? response.statusText}`.trim() };
    }
    const parser = createParser({
      onEvent({ data }) {
        if (data === "[DONE]") return;
        seen.error ??= errorText(data);
        const chunk = chunkSchema.safeParse(jsonOf(data));
        if (!chunk.success) return;
        seen.counted = chunk.data.usage?.completion_tokens ?? seen.counted;
        if (chunk.data.choices.some(({ delta }) => (delta?.content ?? "") !== "")) arrivals.push(performance.now());
      },
    });
    const decoder = new TextDecoder();
    for await (const bytes of response.body) parser.feed(decoder.decode(bytes as Uint8Array, { stream: true }));
  } catch (error) {
    stop.throwIfAborted();
    return { kind: "failed", reason: failureText(error) };
  }
  if (seen.error !== null) return { kind: "failed", reason: seen.error };
  const [first] = arrivals;
  if (first === undefined) return { kind: "failed", reason: "the answer was empty" };
  return {
    kind: "answered",
    firstTokenMs: first - startedAt,
    gapsMs: arrivals.slice(1).map((at, index) => at - (arrivals[index] ?? at)),
    tokens: seen.counted ?? arrivals.length,
  };
}

function bodyOf({ model, prompt, tokens, temperature, seed, ignoreEos }: CompletionQuestion): object {
  return {
    model,
    messages: [{ role: "user", content: prompt }],
    stream: true,
    stream_options: { include_usage: true },
    // Not max_completion_tokens, which many servers do not know yet.
    max_tokens: tokens,
    temperature,
    seed,
    ...(ignoreEos ? { ignore_eos: true } : {}),
  };
}
