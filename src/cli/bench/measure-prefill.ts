import type { BenchModel } from "./bench-model.js";
import { type Ratio, ratioOf } from "./ratios.js";
import { inRounds } from "./rounds.js";
import { median } from "./statistics.js";

/** How fast a prompt is read, alone: one pass for a plain answer, two for a steered one. */
export interface PrefillSpeed {
  readonly passes: "one" | "two";
  /** As asked for; a prompt that would fill the model's context is one token shorter. */
  readonly promptTokens: number;
  readonly tokensPerSecond: number;
  readonly firstTokenMs: number;
}

interface PrefillCase {
  readonly passes: "one" | "two";
  readonly length: number;
}

/** @param settings.lengths tokens of a prompt; those beyond the model's context are left out. */
export async function measurePrefill(
  model: BenchModel,
  settings: { readonly lengths: readonly number[]; readonly rounds: number; readonly seed: number },
  stop: AbortSignal,
  onRun: (fraction: number) => void,
): Promise<{ readonly speeds: readonly PrefillSpeed[]; readonly ratios: readonly Ratio[] }> {
  const lengths = settings.lengths.filter((length) => length <= model.info.contextLength);
  const passes = model.adapter === null ? (["one"] as const) : (["one", "two"] as const);
  const cases = lengths.flatMap((length) => passes.map((count): PrefillCase => ({ passes: count, length })));
  // Every run reads a text of its own.
  let number = settings.seed;
  const results = await inRounds(settings.rounds, cases, (one) => prefillMs(model, one, number++, stop), onRun);
  const timesOf = (count: "one" | "two", length: number): readonly number[] =>
    results.find(({ case: one }) => one.passes === count && one.length === length)?.values ?? [];
  return {
    speeds: results.map(({ case: one, values }) => ({
      passes: one.passes,
      promptTokens: one.length,
      tokensPerSecond: (1000 * promptTokensOf(model, one)) / median(values),
      firstTokenMs: median(values),
    })),
    ratios:
      model.adapter === null
        ? []
        : lengths.map((length) =>
            ratioOf("prompt: two passes / one", length, timesOf("two", length), timesOf("one", length)),
          ),
  };
}

/** There has to be room for the token that ends the reading. */
function promptTokensOf({ info }: BenchModel, { length }: PrefillCase): number {
  return Math.min(length, info.contextLength - 1);
}

/** Milliseconds to the first token, of a prompt that was never read before. */
export async function prefillMs(
  model: BenchModel,
  one: PrefillCase,
  number: number,
  stop: AbortSignal,
): Promise<number> {
  const way = one.passes === "one" ? "plain" : "draftAhead";
  const engine = await model.engine(way);
  const request = model.request(way, model.prompts.ofLength(promptTokensOf(model, one), number), {
    tokens: 1,
    temperature: 0,
    seed: 0,
    ignoreEos: true,
  });
  const startedAt = performance.now();
  const { events } = await engine.generate(request, stop);
  for await (const _ of events);
  stop.throwIfAborted();
  return performance.now() - startedAt;
}
