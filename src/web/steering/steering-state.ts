import { computed, signal } from "@preact/signals";
import { maxStrength, settings, strengthOf } from "../sampling.js";
import { drawSeed, samplingBody } from "../sampling-fields.js";
import { access, announcement, heedProblem, modelOf, models, vectorsOfRoot } from "../session.js";
import { knownOf, type LayerRange, steeringBody, type VectorStack } from "../vector-stack.js";
import { type Answer, isRunning } from "../wire/answer.js";
import { askChat } from "../wire/ask.js";
import { defaultModel, type ModelEntry } from "../wire/server.js";
import {
  type GainSizes,
  isVectorShade,
  largestGains,
  noGains,
  type ShadeBy,
  type ShadingScale,
  scaleTo,
  shadedValue,
  signedScale,
} from "./shading.js";
import type { TokenRun } from "./token-runs.js";

export const prompt = signal("Give three tips for staying healthy.");
/** Steered layers, both ends included; null: all. */
export const layers = signal<LayerRange | null>(null);
/** Kept from one run to the next, so that only the strength differs. */
export const seed = signal(1);
export const base = signal<Answer | null>(null);
export const steered = signal<Answer | null>(null);
/** What {@link steered} was asked with. */
export const shown = signal<Shown>({ strength: 1, stack: {} });

interface Shown {
  /** Of the adapter; null without one. */
  readonly strength: number | null;
  readonly stack: VectorStack;
}

const chosenShading = signal<ShadeBy>("relevance");

/** What the steered answer can be shaded by: an adapter's relevance, gain and drafts, each vector before and after. */
export const shadings = computed<readonly ShadeBy[]>(() => {
  const { strength, stack } = shown.value;
  const adapter: readonly ShadeBy[] = strength === null || strength === 0 ? [] : ["relevance", "gain", "draft"];
  return [...adapter, ...Object.keys(stack).flatMap((name): ShadeBy[] => [`before:${name}`, `after:${name}`])];
});

export const shadeBy = computed<ShadeBy>(() =>
  shadings.value.includes(chosenShading.value) ? chosenShading.value : (shadings.value[0] ?? "relevance"),
);

export function chooseShading(by: ShadeBy): void {
  chosenShading.value = by;
}

/** The largest gains of a model so far, at strength 1: axes and shades are for all of its runs alike. */
const gainSizes = signal<{ readonly model: string; readonly sizes: GainSizes }>({ model: "", sizes: noGains });

/** What the gains of a layer are drawn up to, whatever the strength. */
export const gainAxis = computed(() => gainSizes.value.sizes.layer * maxStrength);

function heedGains({ tokens, promptExplanation }: Answer, model: string, strength: number): void {
  const known = gainSizes.value.model === model ? gainSizes.value.sizes : noGains;
  gainSizes.value = { model, sizes: largestGains([...tokens, ...promptExplanation], strength, known) };
}

/** The token whose own numbers are shown. */
export const selected = signal<{ readonly where: "prompt" | "output"; readonly at: number } | null>(null);

/** Models with an adapter, and those that have control vectors. */
export const steerable = computed(() =>
  models.value.filter(({ adapter, root }) => adapter !== null || vectorsOfRoot(root).length > 0),
);

/** The steered model to look at: the one chosen in the chat, if it is one. */
export const watched = computed<ModelEntry | null>(() => {
  const chosen = modelOf(settings.value.model);
  return chosen !== null && steerable.value.includes(chosen) ? chosen : defaultModel(steerable.value);
});

/** The control vectors of the next run: those that are turned up in the chat. */
export const stack = computed<VectorStack>(() =>
  watched.value === null
    ? {}
    : knownOf(
        settings.value.vectors,
        vectorsOfRoot(watched.value.root).map(({ name }) => name),
      ),
);

export const isBusy = computed(() =>
  [base.value, steered.value].some((answer) => answer !== null && isRunning(answer)),
);

let stopping = new AbortController();
/** What {@link base} answers; it is not asked again for the same. */
let baseQuestion = "";

export function stop(): void {
  stopping.abort();
}

/** Asks both: the base model and the steered one, from the same seed. A run that still goes on is given up. */
export async function run(): Promise<void> {
  const model = watched.value;
  const text = prompt.value.trim();
  if (model === null || text === "") return;
  stopping.abort();
  const own = new AbortController();
  stopping = own;
  const { sampling, systemPrompt } = settings.value;
  const question = {
    model: model.id,
    messages: [
      ...(systemPrompt.trim() === "" ? [] : [{ role: "system", content: systemPrompt }]),
      { role: "user", content: text },
    ],
    ...samplingBody(sampling, seed.value),
  };
  const adapterStrength = strengthOf(model, settings.value.strength);
  shown.value = { strength: adapterStrength, stack: stack.value };
  announcement.value = "";
  const show = (target: typeof base) => (answer: Answer) => {
    if (stopping === own) target.value = answer;
  };
  // Without either this is the base model itself, and there is nothing to explain.
  const isSteered = (adapterStrength ?? 0) > 0 || Object.keys(stack.value).length > 0;
  const adapter = adapterStrength === null ? null : { strength: adapterStrength, layers: layers.value };
  const steering = steeringBody(adapter, stack.value, isSteered);
  const askSteered = askChat(access.value, { ...question, ...steering }, own.signal, (answer) => {
    show(steered)(answer);
    if (stopping === own) heedGains(answer, model.id, adapterStrength ?? 0);
  });
  const answers = await Promise.all([askSteered, askBase(question, model, own.signal, show(base))]);
  if (stopping !== own) return;
  const problem = answers.find((answer) => answer.problem !== null)?.problem ?? null;
  if (problem !== null) heedProblem(problem);
  else announcement.value = own.signal.aborted ? "Stopped." : "Both answers are complete.";
}

async function askBase(
  question: object,
  { adapter }: ModelEntry,
  stop: AbortSignal,
  show: (answer: Answer) => void,
): Promise<Answer> {
  const asked = JSON.stringify(question);
  if (asked === baseQuestion && base.value?.phase === "done") return base.value;
  baseQuestion = asked;
  const unsteered = steeringBody(adapter === null ? null : { strength: 0 }, {});
  return await askChat(access.value, { ...question, ...unsteered }, stop, show);
}

/** The lowest layer that a vector steered in the last run; what is told of a token by layer begins there. */
export function firstLayer(name: string): number {
  const own = watched.value === null ? [] : vectorsOfRoot(watched.value.root);
  const first = own.find((vector) => vector.name === name)?.layers?.[0] ?? 0;
  return Math.max(first, shown.value.stack[name]?.layers?.[0] ?? first);
}

export function drawAnotherSeed(): void {
  // Short enough to be read out and typed again.
  seed.value = drawSeed() % 10_000;
}

export function selectedIn(where: "prompt" | "output"): number | null {
  return selected.value?.where === where ? selected.value.at : null;
}

export function select(where: "prompt" | "output", at: number | null): void {
  selected.value = at === null ? null : { where, at };
}

/** One scale for prompt and answer, and, but for vectors, for every strength: the same shade is the same value. */
export function scaleOf(runs: readonly TokenRun[]): ShadingScale {
  const by = shadeBy.value;
  if (isVectorShade(by)) return signedScale(runs.map((run) => shadedValue(run, by)));
  return scaleTo(by === "gain" ? gainSizes.value.sizes.token * maxStrength : 1);
}
