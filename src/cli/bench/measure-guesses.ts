import type { Engine } from "../../engine/engine.js";
import type { GenerationRequest } from "../../engine/generation-request.js";
import { ToastError } from "../../errors.js";
import type { BenchModel } from "./bench-model.js";
import { type Ratio, ratioOf } from "./ratios.js";
import { median } from "./statistics.js";
import type { Way } from "./way.js";

/** What guessing ahead is worth: one stream, one kind of prompt, one way. */
export interface GuessSpeed {
  readonly way: Way;
  /** `edits`: answers that say again much of what they were asked about. */
  readonly kind: "questions" | "edits";
  readonly answers: number;
  readonly tokens: number;
  readonly guesses: { readonly proposed: number; readonly accepted: number };
  /** Of an answer behind its first token; medians. */
  readonly tokensPerSecond: { readonly without: number; readonly with: number };
}

interface Answer {
  readonly text: string;
  readonly tokens: number;
  readonly tokensPerSecond: number;
}

/** An answer of fewer tokens says nothing of speed. */
const fewestTokens = 16;

/**
 * Each prompt is answered without guesses and with them, one right after the other, and has to get the same answer.
 * @throws ToastError `engine_failed` when it does not
 */
export async function measureGuesses(
  model: BenchModel,
  settings: { readonly answers: number; readonly tokens: number; readonly temperature: number; readonly seed: number },
  stop: AbortSignal,
  onRun: (fraction: number) => void,
): Promise<{ readonly speeds: readonly GuessSpeed[]; readonly ratios: readonly Ratio[] } | null> {
  const { edits } = model.prompts;
  if (edits === null) return null;
  const questions = Array.from({ length: settings.answers }, (_, number) => model.prompts.question(number));
  const ways = model.ways.filter((way) => way === "plain" || way === "draftAhead");
  const cases = ways.flatMap((way) => [
    { way, kind: "questions" as const, prompts: questions },
    { way, kind: "edits" as const, prompts: edits.slice(0, settings.answers) },
  ]);
  const guessing = await model.guessing();
  const all = cases.reduce((sum, { prompts }) => sum + prompts.length, 0);
  let done = 0;
  const speeds: GuessSpeed[] = [];
  const ratios: Ratio[] = [];
  for (const { way, kind, prompts } of cases) {
    const before = await guessing.inspect();
    const pairs: { readonly without: Answer; readonly with: Answer }[] = [];
    for (const [number, ids] of prompts.entries()) {
      const { tokens, temperature, seed } = settings;
      const request = model.request(way, ids, { tokens, temperature, seed: seed + number, ignoreEos: false });
      const without = await answer(await model.engine(way), request, stop);
      const withGuesses = await answer(guessing, request, stop);
      if (without.text !== withGuesses.text) {
        throw new ToastError("engine_failed", `Guesses changed the answer to prompt ${number} of the ${kind}.`);
      }
      if (without.tokens >= fewestTokens) pairs.push({ without, with: withGuesses });
      onRun(++done / all);
    }
    const { guesses } = await guessing.inspect();
    const rates = (which: "without" | "with") => pairs.map((pair) => pair[which].tokensPerSecond);
    speeds.push({
      way,
      kind,
      answers: pairs.length,
      tokens: pairs.reduce((sum, pair) => sum + pair.with.tokens, 0),
      guesses: {
        proposed: guesses.proposed - before.guesses.proposed,
        accepted: guesses.accepted - before.guesses.accepted,
      },
      tokensPerSecond: { without: median(rates("without")), with: median(rates("with")) },
    });
    const label = `tokens/s: guesses / none, ${kind}, ${way === "plain" ? "plain" : "draft ahead"}`;
    ratios.push(ratioOf(label, null, rates("with"), rates("without")));
  }
  return { speeds, ratios };
}

async function answer(engine: Engine, request: GenerationRequest, stop: AbortSignal): Promise<Answer> {
  const { events } = await engine.generate(request, stop);
  let text = "";
  let tokens = 0;
  let firstAt = Number.NaN;
  for await (const event of events) {
    if (event.kind === "delta") {
      if (tokens === 0) firstAt = performance.now();
      text += event.text;
      tokens += event.tokens;
    }
  }
  stop.throwIfAborted();
  return { text, tokens, tokensPerSecond: (1000 * (tokens - 1)) / (performance.now() - firstAt) };
}
