import type { GenerationRequest } from "../../engine/generation-request.js";
import { promptAlone } from "../../engine/generation-request.js";
import type { ModelInfo } from "../../engine/model-info.js";
import type { Prompt } from "../../engine/prompt.js";
import type { LayerRange, Steering } from "../../steering/steering.js";
import { neutralPrompts } from "./unfinished-sentences.js";
import type { MakingEngine } from "./vector-recipe.js";

/** The distances from the base that a range may end at: as many as three halvings tell apart. */
const distances: readonly number[] = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2];

/** What became of the text at one strength. */
export interface SweepStep {
  readonly strength: number;
  /** The base's perplexity of the texts, without their prompts. */
  readonly perplexity: number;
  /** Share of the texts' 4-grams that had been there before. */
  readonly repetition: number;
  /** Whether the text holds together: see `holdsTogether`. */
  readonly coherent: boolean;
}

/** Beyond these the text counts as having come apart. */
const coherenceLimits = { perplexityRatio: 1.5, repetition: 0.25 } as const;

const tokensPerText = 24;

/** Texts that are written and judged at the same time: others want room among the running requests. */
const textsAtOnce = 12;

/** A strength that is clear after so many texts gets no more. */
const firstTexts = 6;

/** What engines wrote unsteered, which no vector changes. */
const unsteered = new WeakMap<object, readonly Trial[]>();

/**
 * Writes about neutral prompts at some strengths on either side of 0, and has the base judge the texts: where they come
 * apart, it tries nearer to 0, where they hold, further out, halving what is left each time.
 * @param name of a vector that the engine knows.
 * @returns in the order of the strengths.
 */
export async function sweepStrength(
  engine: Pick<MakingEngine, "generate" | "ask">,
  model: Pick<ModelInfo, "sampling">,
  { name, layers }: { readonly name: string; readonly layers: LayerRange },
  options: { readonly signal: AbortSignal; readonly onProgress: (done: number, total: number) => void },
): Promise<readonly SweepStep[]> {
  const { signal, onProgress } = options;
  const prompts = await neutralIds(engine);
  const write = (strength: number, ids: readonly number[]) => () => {
    const steering: Steering =
      strength === 0 ? { kind: "plain" } : { kind: "vectors", vectors: [{ name, strength, layers }] };
    return tried(engine, ids, steering, model, signal);
  };
  const known = unsteered.get(engine);
  // In halves, like a strength that is not clear after the first; the base's own texts are written once.
  const total = (known === undefined ? 2 : 0) + 4 * Math.log2(distances.length + 1);
  let done = 0;
  const progress = (halves: number) => {
    done += halves;
    onProgress(done, total);
  };
  const base = known ?? (await pooled(prompts.map((ids) => write(0, ids))));
  unsteered.set(engine, base);
  if (known === undefined) progress(2);

  const steps: SweepStep[] = [{ strength: 0, ...figuresOf(base, base), coherent: true }];
  const sides = [-1, 1].map((sign) => ({ sign, search: halving(distances) }));
  for (let round = 0; round < Math.log2(distances.length + 1); round++) {
    const tries = sides.map(({ sign, search }) => ({ strength: sign * search.next(), search, trials: [] as Trial[] }));
    const writeMore = async (open: typeof tries, some: typeof prompts) => {
      const texts = await pooled(open.flatMap(({ strength }) => some.map((ids) => write(strength, ids))));
      for (const [at, { trials }] of open.entries()) {
        trials.push(...texts.slice(at * some.length, (at + 1) * some.length));
      }
    };
    await writeMore(tries, prompts.slice(0, firstTexts));
    progress(2);
    const unclear = tries.filter(({ trials }) => earlyVerdict(trials, base) === null);
    await writeMore(unclear, prompts.slice(firstTexts));
    progress(2);
    for (const { strength, search, trials } of tries) {
      const coherent = earlyVerdict(trials, base) ?? holdsTogether(trials, base);
      search.narrow(coherent);
      steps.push({ strength, ...figuresOf(trials, base), coherent });
    }
  }
  return steps.toSorted((a, b) => a.strength - b.strength);
}

/** @returns what the tasks come to, in their order, some of them at work at any time. */
async function pooled<T>(tasks: readonly (() => Promise<T>)[]): Promise<readonly T[]> {
  const results: T[] = [];
  const queue = tasks.entries();
  const work = async () => {
    for (const [at, task] of queue) results[at] = await task();
  };
  await Promise.all(Array.from({ length: textsAtOnce }, work));
  return results;
}

/**
 * Looks for the last of ascending values that holds, where all below it hold and none above.
 * @param values 2ⁿ − 1 of them: n questions find it.
 */
export function halving(values: readonly number[]): { next(): number; narrow(holds: boolean): void } {
  let [held, broken] = [-1, values.length];
  const middle = () => (held + broken) >> 1;
  return {
    next: () => values[middle()] as number,
    narrow(holds) {
      if (holds) held = middle();
      else broken = middle();
    },
  };
}

async function neutralIds(engine: Pick<MakingEngine, "ask">): Promise<readonly (readonly number[])[]> {
  const { chatTemplate } = await engine.ask({ kind: "describe", adapter: null });
  return Promise.all(
    neutralPrompts.map(async (text) => {
      const prompt: Prompt =
        chatTemplate === null
          ? { kind: "text", text: `${text}\n\n`, addSpecialTokens: true }
          : { kind: "chat", messages: [{ role: "user", content: text }] };
      return (await engine.ask({ kind: "encode", prompt, adapter: null })).ids;
    }),
  );
}

/** One text, and what the base says of it. */
export interface Trial {
  readonly answer: readonly number[];
  /** Natural, one for each token of the answer. */
  readonly logprobs: readonly number[];
}

async function tried(
  engine: Pick<MakingEngine, "generate">,
  ids: readonly number[],
  steering: Steering,
  model: Pick<ModelInfo, "sampling">,
  signal: AbortSignal,
): Promise<Trial> {
  signal.throwIfAborted();
  const answer = await writtenIds(engine, ids, steering, model, signal);
  return { answer, logprobs: await baseLogprobs(engine, ids, answer, signal) };
}

/** @param base what the base wrote to the same prompts, and perhaps to more behind them. */
function figuresOf(trials: readonly Trial[], base: readonly Trial[]): Pick<SweepStep, "perplexity" | "repetition"> {
  const perplexity = (of: readonly Trial[]) => Math.exp(-mean(of.flatMap(({ logprobs }) => logprobs)));
  const repetition = mean(trials.map(({ answer }) => repeatedShare(answer)));
  // Some prompts are easier than others: what a few of them say is told as of all.
  const ratio = perplexity(base) / perplexity(base.slice(0, trials.length));
  return { perplexity: perplexity(trials) * ratio, repetition };
}

/** As far as the text holds together without a gap, from the base outwards; null where it does at no strength but 0. */
export function recommendedRange(steps: readonly SweepStep[]): readonly [low: number, high: number] | null {
  const outwards = (side: readonly SweepStep[]) => {
    const broken = side.findIndex(({ coherent }) => !coherent);
    return (broken === -1 ? side : side.slice(0, broken)).at(-1)?.strength ?? 0;
  };
  const sorted = steps.toSorted((a, b) => Math.abs(a.strength) - Math.abs(b.strength));
  const low = outwards(sorted.filter(({ strength }) => strength < 0));
  const high = outwards(sorted.filter(({ strength }) => strength > 0));
  return low === 0 && high === 0 ? null : [low, high];
}

/**
 * Whether texts hold together, beside those that the base wrote to the same prompts, in the same order. A dozen texts
 * are a small sample, so the perplexity keeps a standard error away from its limit.
 */
export function holdsTogether(trials: readonly Trial[], base: readonly Trial[]): boolean {
  const { loss, standardError, circles } = beside(trials, base);
  return loss + standardError <= Math.log(coherenceLimits.perplexityRatio) && circles <= coherenceLimits.repetition;
}

/** What `holdsTogether` will say when there are more texts; null where that is open. */
export function earlyVerdict(trials: readonly Trial[], base: readonly Trial[]): boolean | null {
  const { loss, standardError, circles } = beside(trials, base);
  const limit = Math.log(coherenceLimits.perplexityRatio);
  // A few texts that are alike by chance make no small error.
  const error = Math.max(standardError, 0.05);
  if (loss - error > limit || circles > 2 * coherenceLimits.repetition) return false;
  return loss + 3 * error <= limit && circles <= coherenceLimits.repetition / 2 ? true : null;
}

/** How much worse texts are than the base's: in nats a token, with its standard error, and by what they repeat. */
function beside(trials: readonly Trial[], base: readonly Trial[]) {
  // Prompt by prompt: what makes one text harder than another is in both.
  const losses = trials.flatMap(({ logprobs }, index) => {
    const other = base[index]?.logprobs ?? [];
    return logprobs.length === 0 || other.length === 0 ? [] : [mean(other) - mean(logprobs)];
  });
  const loss = mean(losses);
  const variance = losses.reduce((sum, one) => sum + (one - loss) ** 2, 0) / Math.max(1, losses.length - 1);
  const repetition = (of: readonly Trial[]) => mean(of.map(({ answer }) => repeatedShare(answer)));
  return {
    loss,
    standardError: Math.sqrt(variance / Math.max(1, losses.length)),
    // A base that repeats itself must not be held against the vector.
    circles: repetition(trials) - repetition(base.slice(0, trials.length)),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/** @returns the tokens of an answer, without the one that ended it. */
async function writtenIds(
  engine: Pick<MakingEngine, "generate">,
  ids: readonly number[],
  steering: Steering,
  { sampling }: Pick<ModelInfo, "sampling">,
  signal: AbortSignal,
): Promise<readonly number[]> {
  const generation = await engine.generate(
    {
      ...requestOf(ids, steering),
      // As clients get it who ask for nothing in particular.
      sampling: {
        ...promptAlone.sampling,
        temperature: sampling.temperature ?? 0,
        topP: sampling.top_p ?? 1,
        repetitionPenalty: sampling.repetition_penalty ?? 1,
        seed: 1,
      },
      maxTokens: tokensPerText,
      report: { ...promptAlone.report, logprobs: 0 },
    },
    signal,
  );
  const written: number[] = [];
  for await (const event of generation.events) {
    if (event.kind === "delta") written.push(...event.reports.map(({ id }) => id));
  }
  signal.throwIfAborted();
  return written;
}

/** Natural logarithms of how likely the base finds each token of an answer. */
async function baseLogprobs(
  engine: Pick<MakingEngine, "generate">,
  prompt: readonly number[],
  answer: readonly number[],
  signal: AbortSignal,
): Promise<readonly number[]> {
  if (answer.length === 0) return [];
  const generation = await engine.generate(
    {
      ...requestOf([...prompt, ...answer], { kind: "plain" }),
      maxTokens: 0,
      report: { ...promptAlone.report, promptLogprobs: 0, promptLogprobsFrom: prompt.length },
    },
    signal,
  );
  const logprobs: number[] = [];
  for await (const event of generation.events) {
    if (event.kind === "prompt") logprobs.push(...event.reports.map(({ logprob }) => logprob ?? 0));
  }
  signal.throwIfAborted();
  return logprobs.slice(-answer.length);
}

function requestOf(ids: readonly number[], steering: Steering): GenerationRequest {
  return {
    ...promptAlone,
    prompt: { kind: "tokens", ids },
    steering,
  };
}

/** Share of 4-grams that had been there before. */
export function repeatedShare(ids: readonly number[]): number {
  const grams = ids.slice(3).map((_, index) => ids.slice(index, index + 4).join());
  return grams.length === 0 ? 0 : 1 - new Set(grams).size / grams.length;
}
