import type { BenchModel } from "./bench-model.js";

/** How often the steered pass chose what the bottom-up pass had drafted, over answers to real questions. */
export interface Acceptance {
  readonly temperature: number;
  readonly answers: number;
  readonly tokens: number;
  readonly drafts: { readonly proposed: number; readonly accepted: number };
  /** accepted / proposed; null when nothing was drafted. */
  readonly accepted: number | null;
}

/** Answers end where the model ends them: what comes after is no text that anybody asks for. */
export async function measureAcceptance(
  model: BenchModel,
  settings: {
    readonly temperatures: readonly number[];
    readonly answers: number;
    readonly tokens: number;
    readonly seed: number;
  },
  stop: AbortSignal,
  onRun: (fraction: number) => void,
): Promise<readonly Acceptance[]> {
  const engine = await model.engine("draftAhead");
  const results: Acceptance[] = [];
  for (const [index, temperature] of settings.temperatures.entries()) {
    onRun(index / settings.temperatures.length);
    const before = await engine.inspect();
    let tokens = 0;
    const answer = async (number: number): Promise<void> => {
      const request = model.request("draftAhead", model.prompts.question(number), {
        tokens: settings.tokens,
        temperature,
        seed: settings.seed + number,
        ignoreEos: false,
      });
      const { events } = await engine.generate(request, stop);
      for await (const event of events) if (event.kind === "finished") tokens += event.usage.completionTokens;
    };
    await Promise.all(Array.from({ length: settings.answers }, (_, number) => answer(number)));
    stop.throwIfAborted();
    const after = await engine.inspect();
    const proposed = after.drafts.proposed - before.drafts.proposed;
    const accepted = after.drafts.accepted - before.drafts.accepted;
    results.push({
      temperature,
      answers: settings.answers,
      tokens,
      drafts: { proposed, accepted },
      accepted: proposed === 0 ? null : accepted / proposed,
    });
  }
  return results;
}
