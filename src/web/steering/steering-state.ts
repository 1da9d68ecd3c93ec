import { computed, signal } from "@preact/signals";
import { drawSeed, samplingBody, settings } from "../sampling.js";
import { access, announcement, heedProblem, modelOf, models } from "../session.js";
import { type Answer, isRunning } from "../wire/answer.js";
import { askChat } from "../wire/ask.js";
import { defaultModel, type ModelEntry } from "../wire/server.js";
import { type ShadeBy, type ShadingScale, shadedValue, shadingScale } from "./shading.js";
import type { TokenRun } from "./token-runs.js";

export const prompt = signal("Give three tips for staying healthy.");
/** Steered layers, both ends included; null: all. */
export const layers = signal<readonly [from: number, to: number] | null>(null);
/** Kept from one run to the next, so that only the strength differs. */
export const seed = signal(1);
export const base = signal<Answer | null>(null);
export const steered = signal<Answer | null>(null);
/** The strength that {@link steered} was asked with. */
export const shownStrength = signal(1);

export const shadeBy = signal<ShadeBy>("relevance");
/** The token whose own numbers are shown. */
export const selected = signal<{ readonly where: "prompt" | "output"; readonly at: number } | null>(null);

export const steerable = computed(() => models.value.filter(({ adapter }) => adapter !== null));

/** The steered model to look at: the one chosen in the chat, if it is one. */
export const watched = computed<ModelEntry | null>(() => {
  const chosen = modelOf(settings.value.model);
  return chosen?.adapter ? chosen : defaultModel(steerable.value);
});

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
  const { sampling, strength, systemPrompt } = settings.value;
  const question = {
    model: model.id,
    messages: [
      ...(systemPrompt.trim() === "" ? [] : [{ role: "system", content: systemPrompt }]),
      { role: "user", content: text },
    ],
    ...samplingBody(sampling, seed.value),
  };
  const range = layers.value;
  shownStrength.value = strength;
  announcement.value = "";
  const show = (target: typeof base) => (answer: Answer) => {
    if (stopping === own) target.value = answer;
  };
  // Strength 0 is the base model itself, and there is nothing to explain.
  const steering =
    strength === 0 ? { strength } : { strength, explain: true, ...(range === null ? {} : { layers: range }) };
  const askSteered = askChat(access.value, { ...question, steering }, own.signal, show(steered));
  const answers = await Promise.all([askSteered, askBase(question, own.signal, show(base))]);
  if (stopping !== own) return;
  const problem = answers.find((answer) => answer.problem !== null)?.problem ?? null;
  if (problem !== null) heedProblem(problem);
  else announcement.value = own.signal.aborted ? "Stopped." : "Both answers are complete.";
}

async function askBase(question: object, stop: AbortSignal, show: (answer: Answer) => void): Promise<Answer> {
  const asked = JSON.stringify(question);
  if (asked === baseQuestion && base.value?.phase === "done") return base.value;
  baseQuestion = asked;
  return await askChat(access.value, { ...question, steering: { strength: 0 } }, stop, show);
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

export function scaleOf(runs: readonly TokenRun[]): ShadingScale {
  return shadingScale(runs.map((run) => shadedValue(run, shadeBy.value)));
}
