import { computed, signal } from "@preact/signals";
import { settings } from "../sampling.js";
import { samplingBody } from "../sampling-fields.js";
import { access, announcement, heedProblem, models } from "../session.js";
import { type LayerRange, steeringBody } from "../vector-stack.js";
import { type Answer, emptyAnswer, isRunning } from "../wire/answer.js";
import { askChat } from "../wire/ask.js";
import type { ModelEntry, VectorEntry } from "../wire/server.js";
import { base, own } from "./maker-state.js";
import { layerWindows, type Subject, stripStrengths, windowStrength } from "./trials.js";

export type Mode = "strengths" | "layers";

export const mode = signal<Mode>("strengths");
export const prompt = signal("");
export const seed = signal(1);
/** Long enough for a tone to show, short enough for five at once. */
const tokensPerText = 64;

/** `vector:name` or `adapter:served id`; empty: the page chooses. */
export const subjectKey = signal("");

export interface Choice {
  readonly key: string;
  readonly label: string;
  readonly subject: Subject;
  readonly examplePrompt: string | null;
}

const adapters = computed<readonly ModelEntry[]>(() =>
  models.value.filter(({ adapter, root }) => adapter !== null && root === base.value?.id),
);

/** All that can be tried, vectors first. */
export const subjects = computed<readonly Choice[]>(() => [
  ...own.value.map(choiceOf),
  ...adapters.value.map(
    (model): Choice => ({
      key: `adapter:${model.id}`,
      label: model.adapter ?? model.id,
      examplePrompt: model.examplePrompt,
      subject: { kind: "adapter", name: model.id, layers: [0, model.layers - 1], recommended: null },
    }),
  ),
]);

function choiceOf({ name, layers, recommended, examplePrompt }: VectorEntry): Choice {
  return {
    key: `vector:${name}`,
    label: name,
    examplePrompt,
    subject: { kind: "vector", name, layers: layers ?? [0, (base.value?.layers ?? 1) - 1], recommended },
  };
}

export const chosen = computed<Choice | null>(
  () => subjects.value.find(({ key }) => key === subjectKey.value) ?? subjects.value[0] ?? null,
);

/** The vector that is tried, where it is one. */
export const chosenVector = computed<VectorEntry | null>(() =>
  chosen.value?.subject.kind === "vector"
    ? (own.value.find(({ name }) => name === chosen.value?.subject.name) ?? null)
    : null,
);

/** Strengths that somebody typed, by the subject's key; others are worked out. */
const typedStrengths = signal<Readonly<Record<string, readonly number[]>>>({});
const typedWindowStrength = signal<Readonly<Record<string, number>>>({});

export const strengths = computed<readonly number[]>(() => {
  const choice = chosen.value;
  return choice === null ? [] : (typedStrengths.value[choice.key] ?? stripStrengths(choice.subject));
});

/** The one strength of all windows. */
export const layerStrength = computed(() => {
  const choice = chosen.value;
  return choice === null ? 1 : (typedWindowStrength.value[choice.key] ?? windowStrength(choice.subject));
});

export function setStrength(at: number, strength: number): void {
  const choice = chosen.value;
  if (choice === null) return;
  const changed = strengths.value.map((one, index) => (index === at ? strength : one));
  typedStrengths.value = { ...typedStrengths.value, [choice.key]: changed };
}

export function setLayerStrength(strength: number): void {
  const choice = chosen.value;
  if (choice !== null) typedWindowStrength.value = { ...typedWindowStrength.value, [choice.key]: strength };
}

/** One text of several that were asked together. */
export interface Trial {
  readonly strength: number;
  /** Null: all. */
  readonly layers: LayerRange | null;
  readonly answer: Answer;
}

/** Texts that were asked together. */
interface Batch {
  /** The subject's. */
  readonly key: string;
  readonly trials: readonly Trial[];
  readonly stop: AbortController;
}

/** What was asked last, in each mode. */
const batches = signal<Readonly<Record<Mode, Batch | null>>>({ strengths: null, layers: null });

/** Those of the subject that is chosen; another one's say nothing of it. */
export const shownTrials = computed(() => {
  const last = batches.value[mode.value];
  return last !== null && last.key === chosen.value?.key ? last.trials : null;
});

export const isBusy = computed(() =>
  Object.values(batches.value).some((one) => one?.trials.some(({ answer }) => isRunning(answer)) ?? false),
);

export function stop(): void {
  for (const batch of Object.values(batches.value)) batch?.stop.abort();
}

/** The prompt that will be asked: what was typed, else the subject's own. */
export const askedPrompt = computed(() => {
  const typed = prompt.value.trim();
  return typed === "" ? (chosen.value?.examplePrompt ?? "What makes a good friend?") : typed;
});

/** Asks for all texts of the mode at once: the server takes them as one batch. What still runs is given up. */
export async function run(): Promise<void> {
  const choice = chosen.value;
  const model = base.value;
  if (choice === null || model === null) return;
  const { key, subject } = choice;
  const asked = mode.value;
  const plans: readonly Pick<Trial, "strength" | "layers">[] =
    asked === "strengths"
      ? strengths.value.map((strength) => ({ strength, layers: null }))
      : [
          { strength: 0, layers: null },
          ...layerWindows(subject.layers).map((layers) => ({ strength: layerStrength.value, layers })),
        ];
  const { sampling, systemPrompt } = settings.value;
  const question = {
    model: subject.kind === "adapter" ? subject.name : model.id,
    messages: [
      ...(systemPrompt.trim() === "" ? [] : [{ role: "system", content: systemPrompt }]),
      { role: "user", content: askedPrompt.value },
    ],
    ...samplingBody(
      { ...sampling, max_tokens: Math.min(sampling.max_tokens ?? tokensPerText, tokensPerText) },
      seed.value,
    ),
  };
  stop();
  const own = new AbortController();
  announcement.value = "";
  const begun = performance.now();
  batches.value = {
    ...batches.value,
    [asked]: { key, trials: plans.map((plan) => ({ ...plan, answer: emptyAnswer(begun) })), stop: own },
  };
  const answers = await Promise.all(
    plans.map((plan, at) =>
      askChat(access.value, { ...question, ...steeringOf(subject, plan) }, own.signal, (answer) => {
        show(asked, own, at, answer);
      }),
    ),
  );
  if (batches.value[asked]?.stop !== own) return;
  const problem = answers.find((answer) => answer.problem !== null)?.problem ?? null;
  if (problem !== null) heedProblem(problem);
  else announcement.value = own.signal.aborted ? "Stopped." : `All ${answers.length} texts are complete.`;
}

function steeringOf({ kind, name }: Subject, { strength, layers }: Pick<Trial, "strength" | "layers">): object {
  if (kind === "adapter") return steeringBody({ strength, layers }, {});
  return strength === 0 ? {} : steeringBody(null, { [name]: { strength, layers } });
}

/** Nothing of a batch that another one has replaced. */
function show(mode: Mode, stop: AbortController, at: number, answer: Answer): void {
  const batch = batches.value[mode];
  if (batch?.stop !== stop) return;
  const trials = batch.trials.map((trial, index) => (index === at ? { ...trial, answer } : trial));
  batches.value = { ...batches.value, [mode]: { ...batch, trials } };
}

/** Shows a vector at five strengths, at once. */
export function choose({ name }: VectorEntry): void {
  subjectKey.value = `vector:${name}`;
  mode.value = "strengths";
  prompt.value = "";
  document.getElementById("trials")?.scrollIntoView({ block: "start" });
  document.getElementById("trials")?.focus({ preventScroll: true });
  void run();
}
