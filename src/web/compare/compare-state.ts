import { computed, signal } from "@preact/signals";
import { type Contestant, nothingChosen, readContestants, type StackChoice } from "../contestants.js";
import { settings, strengthOf } from "../sampling.js";
import { drawSeed, samplingBody } from "../sampling-fields.js";
import { access, announcement, heedProblem, isSteeredBase, modelOf, models, vectorsOfRoot } from "../session.js";
import { knownOf, stackWords, steeringBody, type VectorStack } from "../vector-stack.js";
import { type Answer, emptyAnswer, isRunning, reduceAnswer } from "../wire/answer.js";
import { askChat } from "../wire/ask.js";
import { callStream } from "../wire/call.js";
import { problemFrom } from "../wire/problem.js";
import { defaultModel } from "../wire/server.js";
import { compareEvents, type Side } from "./compare-frames.js";

export const prompt = signal("What makes a good friend?");
export const choices = signal<Readonly<Record<Side, StackChoice>>>({ left: nothingChosen, right: nothingChosen });
export const answers = signal<Readonly<Record<Side, Answer | null>>>({ left: null, right: null });
/** What was asked, for the heads of the columns. */
export const shown = signal<Readonly<Record<Side, Head>> & { readonly seed: number }>({
  seed: 0,
  left: { title: "", kind: "base" },
  right: { title: "", kind: "base" },
});

interface Head {
  readonly title: string;
  readonly kind: "base" | "steered" | "other";
}

/** Whether answers are shown as what their Markdown means, or as it was written, with the mark where they part. */
export const textForm = signal<"formatted" | "written">("formatted");

const remote = signal<readonly Contestant[]>([]);
export const contestants = computed<readonly Contestant[]>(() => [
  ...models.value.map(({ id }) => ({ id, label: id, kind: "served" as const })),
  ...remote.value,
]);

/** Whether two answers could differ: two contestants, or one steered in two ways. */
export const isComparable = computed(
  () =>
    contestants.value.length !== 1 ||
    models.value.some(({ adapter, root }) => adapter !== null || vectorsOfRoot(root).length > 0),
);

export const isBusy = computed(() =>
  Object.values(answers.value).some((answer) => answer !== null && isRunning(answer)),
);

let stopping = new AbortController();

/** @returns the chosen contestant, else what a newcomer should see: steered against its rival. */
export function contestantOf(side: Side): Contestant | null {
  const chosen = contestants.value.find(({ id }) => id === choices.value[side].contestant);
  if (chosen !== undefined) return chosen;
  const steered = defaultModel(models.value);
  if (side === "left") return contestants.value.find(({ id }) => id === steered?.id) ?? null;
  const rival = models.value.find(({ root, adapter }) => adapter === null && root !== steered?.root);
  const base = models.value.find(({ id }) => id === steered?.root);
  const id = rival?.id ?? base?.id;
  return contestants.value.find((one) => one.id === id) ?? null;
}

/** Contestants that are not served here; none on a server that knows none. */
export async function loadContestants(): Promise<void> {
  try {
    remote.value = (await readContestants(access.value)).filter(({ kind }) => kind === "remote");
  } catch {
    remote.value = [];
  }
}

export function stop(): void {
  stopping.abort();
}

export async function run(): Promise<void> {
  const left = contestantOf("left");
  const right = contestantOf("right");
  const content = prompt.value.trim();
  if (left === null || right === null || content === "" || isBusy.value) return;
  stopping = new AbortController();
  announcement.value = "";
  const seed = settings.value.sampling.seed ?? drawSeed();
  shown.value = { seed, left: headOf("left", left), right: headOf("right", right) };
  if (left.kind === "served" && right.kind === "served") {
    await Promise.all([askServed("left", left, content, seed), askServed("right", right, content, seed)]);
  } else {
    await askServer({ left, right }, content, seed);
  }
  const problem = Object.values(answers.value).find((answer) => answer?.problem)?.problem ?? null;
  if (problem !== null) heedProblem(problem);
  else announcement.value = stopping.signal.aborted ? "Stopped." : "Both answers are complete.";
}

async function askServed(side: Side, { id }: Contestant, content: string, seed: number): Promise<void> {
  const { sampling, systemPrompt } = settings.value;
  const body = {
    model: id,
    messages: [
      ...(systemPrompt.trim() === "" ? [] : [{ role: "system", content: systemPrompt }]),
      { role: "user", content },
    ],
    ...samplingBody(sampling, seed),
    ...steeringOf(side, id),
  };
  await askChat(access.value, body, stopping.signal, (answer) => show(side, answer));
}

/** A remote contestant's address and key are the server's: it asks both, and sends what they say in one stream. */
async function askServer(sides: Readonly<Record<Side, Contestant>>, prompt: string, seed: number): Promise<void> {
  const { sampling, systemPrompt } = settings.value;
  const { temperature, top_p, max_tokens } = sampling;
  const body = {
    prompt,
    contestants: (["left", "right"] as const).map((side) => ({
      contestant: sides[side].id,
      ...steeringOf(side, sides[side].id),
      ...(systemPrompt.trim() === "" ? {} : { system: systemPrompt }),
    })),
    seed,
    ...(temperature === null ? {} : { temperature }),
    ...(top_p === null ? {} : { top_p }),
    ...(max_tokens === null ? {} : { max_tokens }),
  };
  answers.value = { left: emptyAnswer(performance.now()), right: emptyAnswer(performance.now()) };
  try {
    for await (const frame of callStream(access.value, "/v1/compare", body, stopping.signal)) {
      for (const { side, event } of compareEvents(frame)) grow(side, event);
    }
    for (const side of ["left", "right"] as const) grow(side, { kind: "done" });
  } catch (error) {
    for (const side of ["left", "right"] as const) {
      grow(side, stopping.signal.aborted ? { kind: "stopped" } : { kind: "failed", problem: problemFrom(error) });
    }
  }
}

function grow(side: Side, event: Parameters<typeof reduceAnswer>[1]): void {
  const answer = answers.value[side];
  if (answer !== null) show(side, reduceAnswer(answer, event, performance.now()));
}

function show(side: Side, answer: Answer): void {
  answers.value = { ...answers.value, [side]: answer };
}

/** @returns null for what has no adapter. */
function strengthAt(side: Side, id: string): number | null {
  const model = modelOf(id);
  return model === null ? null : strengthOf(model, choices.value[side].strength);
}

/** The control vectors that are turned up for a side and known to its model. */
function stackAt(side: Side, id: string): VectorStack {
  const model = modelOf(id);
  if (model === null) return {};
  return knownOf(
    choices.value[side].vectors,
    vectorsOfRoot(model.root).map(({ name }) => name),
  );
}

function steeringOf(side: Side, id: string): object {
  const strength = strengthAt(side, id);
  return steeringBody(strength === null ? null : { strength }, stackAt(side, id));
}

function headOf(side: Side, { id, label }: Contestant): Head {
  const strength = strengthAt(side, id);
  const added = stackWords(stackAt(side, id));
  const words = [label, ...(strength === null ? [] : [`strength ${strength.toFixed(2)}`]), ...added];
  const isSteered = (strength ?? 0) > 0 || added.length > 0;
  const isBase = strength === 0 || isSteeredBase(id);
  return { title: words.join(", "), kind: isSteered ? "steered" : isBase ? "base" : "other" };
}
