import { computed, signal } from "@preact/signals";
import { maxStrength, settings, strengthOf } from "../sampling.js";
import { drawSeed, type Sampling, samplingBody, samplingFields } from "../sampling-fields.js";
import { access, announcement, heedProblem, modelOf, models, vectorsOfRoot } from "../session.js";
import type { SharedMessage, SharedSteering } from "../share-link.js";
import { knownOf, type LayerRange, maxVectorStrength, steeringBody, type VectorStack } from "../vector-stack.js";
import { type Answer, isRunning } from "../wire/answer.js";
import { askChat } from "../wire/ask.js";
import { number } from "../wire/read.js";
import { defaultModel, type ModelEntry } from "../wire/server.js";
import { mostLikely } from "./likeliest.js";
import {
  type GainSizes,
  isVectorShade,
  largestGains,
  largestProjections,
  noGains,
  partsOf,
  type ShadeBy,
  type ShadingScale,
  scaleTo,
} from "./shading.js";

export const prompt = signal("Give three tips for staying healthy.");
/** Steered layers, both ends included; null: all. */
export const layers = signal<LayerRange | null>(null);
/** Kept from one run to the next, so that only the strength differs. */
export const seed = signal(1);
/** What a link, or an answer of the chat, was asked with; null: as the chat's settings say. */
export const given = signal<Given | null>(null);
export const base = signal<Answer | null>(null);
export const steered = signal<Answer | null>(null);
/** What {@link steered} was asked with. */
export const shown = signal<Shown>({ strength: 1, stack: {}, asked: null });

interface Given {
  /** The conversation before the prompt. */
  readonly history: readonly SharedMessage[];
  readonly systemPrompt: string;
  readonly sampling: Sampling;
}

interface Shown {
  /** Of the adapter; null without one. */
  readonly strength: number | null;
  readonly stack: VectorStack;
  /** All that both answers follow from; null before the first run. */
  readonly asked: SharedSteering | null;
}

/** Whether answers are shown as the tokens they are made of, or as what their Markdown means. */
export const textForm = signal<"tokens" | "formatted">("tokens");

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

/** The same for how far the stream lies along each vector: at the vectors' largest strength. */
const projectionSizes = signal<{ readonly model: string; readonly sizes: Readonly<Record<string, GainSizes>> }>({
  model: "",
  sizes: {},
});

/** What values along a vector are drawn up to, on both sides of 0. */
export function projectionAxis(name: string): number {
  return projectionSizes.value.sizes[name]?.layer ?? 0;
}

function heedProjections({ tokens, promptExplanation }: Answer, model: string, used: VectorStack): void {
  const known = projectionSizes.value.model === model ? projectionSizes.value.sizes : {};
  const explained = [...promptExplanation, ...tokens];
  const grown = Object.entries(used).map(([name, { strength }]) => [
    name,
    largestProjections(explained, name, maxVectorStrength / Math.abs(strength), known[name] ?? noGains),
  ]);
  projectionSizes.value = { model, sizes: { ...known, ...Object.fromEntries(grown) } };
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
  const asked = askedNow(model, text);
  const { systemPrompt, sampling, messages } = asked.prompt;
  const question = {
    model: model.id,
    messages: [...(systemPrompt.trim() === "" ? [] : [{ role: "system", content: systemPrompt }]), ...messages],
    ...samplingBody(sampling, seed.value),
    logprobs: true,
    top_logprobs: mostLikely,
  };
  const adapterStrength = strengthOf(model, settings.value.strength);
  shown.value = { strength: adapterStrength, stack: stack.value, asked };
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
    if (stopping !== own) return;
    heedGains(answer, model.id, adapterStrength ?? 0);
    if (!isRunning(answer)) heedProjections(answer, model.root, shown.value.stack);
  });
  const answers = await Promise.all([askSteered, askBase(question, model, own.signal, show(base))]);
  if (stopping !== own) return;
  const problem = answers.find((answer) => answer.problem !== null)?.problem ?? null;
  if (problem !== null) heedProblem(problem);
  else announcement.value = own.signal.aborted ? "Stopped." : "Both answers are complete.";
}

/** Sampling with nothing left to the server: that is what its model recommends, and another may have other words. */
function resolved(sampling: Sampling, model: ModelEntry): Sampling {
  const values = samplingFields.map(({ name }) => [name, sampling[name] ?? number(model.sampling[name])] as const);
  return { ...(Object.fromEntries(values) as Sampling), seed: seed.value };
}

/** Whether what a link has given is what the settings say by themselves, as after a reload. */
export function isGivenAsSet(): boolean {
  const model = watched.value;
  if (given.value === null || model === null) return false;
  const { history, systemPrompt, sampling } = given.value;
  const [one, other] = [sampling, settings.value.sampling].map((values) => JSON.stringify(resolved(values, model)));
  return history.length === 0 && systemPrompt.trim() === settings.value.systemPrompt.trim() && one === other;
}

/** What the next run asks, whole. */
function askedNow(model: ModelEntry, text: string): SharedSteering {
  const { systemPrompt, sampling, history } = given.value ?? { ...settings.value, history: [] };
  const own = vectorsOfRoot(model.root);
  const prompt = {
    model: model.id,
    strength: strengthOf(model, settings.value.strength),
    vectors: Object.entries(stack.value).map(([name, dial]) => ({
      ...dial,
      name,
      fingerprint: own.find((vector) => vector.name === name)?.fingerprint ?? null,
    })),
    systemPrompt,
    sampling: resolved(sampling, model),
    messages: [...history, { role: "user", content: text } as const],
  };
  return { prompt, layers: model.adapter === null ? null : layers.value };
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

/** One scale for prompt, answer and every strength: the same shade is the same value. */
export function scaleNow(): ShadingScale {
  const by = shadeBy.value;
  if (isVectorShade(by)) return scaleTo(projectionSizes.value.sizes[partsOf(by).name]?.token ?? 0);
  return scaleTo(by === "gain" ? gainSizes.value.sizes.token * maxStrength : 1);
}
