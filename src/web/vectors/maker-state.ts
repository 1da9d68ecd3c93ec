import { computed, signal } from "@preact/signals";
import { settings } from "../sampling.js";
import { access, announcement, heedProblem, modelOf, models, reloadVectors, vectorsOfRoot } from "../session.js";
import { callStream } from "../wire/call.js";
import { brokenOff, envelopeSentence, ProblemError, problemFrom } from "../wire/problem.js";
import { field, number } from "../wire/read.js";
import { defaultModel, type ModelEntry, type VectorEntry, vectorOf } from "../wire/server.js";
import { type Sides, sideProblems } from "./sides.js";

/** Models that a vector can be made for: bases. */
export const bases = computed<readonly ModelEntry[]>(() => models.value.filter(({ adapter }) => adapter === null));

const chosenBase = signal("");

/** Whose vectors are shown and made: the base chosen here, else that of the chat. */
export const base = computed<ModelEntry | null>(() => {
  const chat = modelOf(settings.value.model) ?? defaultModel(models.value);
  const known = (id: string | undefined) => bases.value.find((one) => one.id === id);
  return known(chosenBase.value) ?? known(chat?.root) ?? bases.value[0] ?? null;
});

export function chooseBase(id: string): void {
  chosenBase.value = id;
}

export const own = computed<readonly VectorEntry[]>(() => (base.value === null ? [] : vectorsOfRoot(base.value.id)));
export const taken = computed(() => own.value.map(({ name }) => name));

export interface MakerForm extends Sides {
  /** Whether strengths are tried, for the recommended range. */
  readonly sweep: boolean;
  readonly examplePrompt: string | null;
  /** Whether the name was typed; else it follows the first side. */
  readonly nameIsTyped: boolean;
}

export const form = signal<MakerForm>({
  positive: "",
  negative: "",
  name: "",
  sweep: true,
  examplePrompt: null,
  nameIsTyped: false,
});

/** Problems of the form are shown once it was sent; what is still being typed is no mistake yet. */
const wasSent = signal(false);
export const formProblems = computed(() => (wasSent.value ? sideProblems(form.value, taken.value) : []));

export interface Making {
  readonly name: string;
  readonly stage: "starting" | "reading" | "sweeping";
  readonly done: number;
  readonly total: number;
  /** 0 … 1 of the whole. */
  readonly fraction: number;
}

export const making = signal<Making | null>(null);
/** Why the last one was not made, as a sentence. */
export const makingProblem = signal<string | null>(null);

export interface Made {
  readonly vector: VectorEntry;
  readonly wasTried: boolean;
  readonly tookMs: number;
}

/** The one that was made last. */
export const made = signal<Made | null>(null);

let stopping = new AbortController();

export function cancel(): void {
  stopping.abort();
}

/** Reading is quick, trying strengths writes texts: of the whole bar, each gets about its share of the time. */
const readingShare = 0.35;

function progressOf(event: unknown, sweep: boolean): Omit<Making, "name"> | null {
  if (field(event, "object") !== "vector.progress") return null;
  const stage = field(event, "stage") === "sweeping" ? "sweeping" : "reading";
  const done = number(field(event, "done")) ?? 0;
  const total = Math.max(1, number(field(event, "total")) ?? 1);
  const share = done / total;
  if (!sweep) return { stage, done, total, fraction: share };
  const fraction = stage === "reading" ? share * readingShare : readingShare + share * (1 - readingShare);
  return { stage, done, total, fraction };
}

/** Makes a vector of the form, with its progress in {@link making}. */
export async function make(): Promise<void> {
  const model = base.value;
  if (model === null || making.value !== null) return;
  wasSent.value = true;
  if (formProblems.value.length > 0) return;
  const { positive, negative, sweep, examplePrompt } = form.value;
  const name = form.value.name.trim();
  const begun = performance.now();
  stopping = new AbortController();
  making.value = { name, stage: "starting", done: 0, total: 1, fraction: 0 };
  makingProblem.value = null;
  made.value = null;
  announcement.value = "";
  const body = {
    name,
    model: model.id,
    positive: positive.trim(),
    negative: negative.trim(),
    sweep,
    stream: true,
    ...(examplePrompt === null ? {} : { example_prompt: examplePrompt }),
  };
  try {
    const vector = await askToMake(body, stopping.signal, (progress) => {
      making.value = { name, ...progress };
    });
    // Its own name is taken from now on, which is no mistake of the form.
    wasSent.value = false;
    await reloadVectors();
    made.value = { vector, wasTried: sweep, tookMs: performance.now() - begun };
    form.value = { ...form.value, positive: "", negative: "", name: "", examplePrompt: null, nameIsTyped: false };
    announcement.value = `The vector ${name} is made.`;
  } catch (error) {
    if (stopping.signal.aborted) {
      announcement.value = "Cancelled.";
    } else {
      const problem = problemFrom(error);
      heedProblem(problem);
      makingProblem.value = problem.sentence;
    }
  } finally {
    making.value = null;
  }
}

async function askToMake(
  body: { readonly sweep: boolean },
  signal: AbortSignal,
  onProgress: (progress: Omit<Making, "name">) => void,
): Promise<VectorEntry> {
  let vector: VectorEntry | null = null;
  for await (const event of callStream(access.value, "/v1/vectors", body, signal)) {
    const sentence = envelopeSentence(event);
    if (sentence !== null) throw new ProblemError({ kind: "refused", sentence });
    const progress = progressOf(event, body.sweep);
    if (progress === null) vector = vectorOf(event) ?? vector;
    else onProgress(progress);
  }
  if (vector === null) throw new ProblemError(brokenOff);
  return vector;
}
