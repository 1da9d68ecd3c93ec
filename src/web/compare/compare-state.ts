import { computed, signal } from "@preact/signals";
import { settings, strengthOf } from "../sampling.js";
import { drawSeed, samplingBody } from "../sampling-fields.js";
import { access, announcement, heedProblem, modelOf, models, vectorsOfRoot } from "../session.js";
import { steeringBody } from "../vector-stack.js";
import { type Answer, emptyAnswer, isRunning, reduceAnswer } from "../wire/answer.js";
import { askChat } from "../wire/ask.js";
import { callJson, callStream } from "../wire/call.js";
import { problemFrom } from "../wire/problem.js";
import { field, fields, list, text } from "../wire/read.js";
import { defaultModel } from "../wire/server.js";
import { compareEvents, type Side } from "./compare-frames.js";

/** Who can be compared: what is served here, and what the server's operator has added. */
export interface Contestant {
  readonly id: string;
  readonly label: string;
  readonly kind: "served" | "remote";
}

export interface SideChoice {
  /** Empty: the page chooses. */
  readonly contestant: string;
  /** Of its adapter; null: the recommended one. */
  readonly strength: number | null;
}

export const prompt = signal("What makes a good friend?");
export const choices = signal<Readonly<Record<Side, SideChoice>>>({
  left: { contestant: "", strength: null },
  right: { contestant: "", strength: null },
});
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

/** Whether two answers could differ: two contestants, or one at two strengths. */
export const isComparable = computed(
  () => contestants.value.length !== 1 || models.value.some(({ adapter }) => adapter !== null),
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
    const body = fields(await callJson(access.value, "/v1/contestants"));
    remote.value = list(field(body, "data")).flatMap((item) => {
      const { id, label, kind } = fields(item);
      return typeof id === "string" && kind === "remote" ? [{ id, label: text(label) ?? id, kind: "remote" }] : [];
    });
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

function steeringOf(side: Side, id: string): object {
  const strength = strengthAt(side, id);
  return steeringBody(strength === null ? null : { strength }, {});
}

/** Whether something that steers is served for this very model; any other is a rival. */
function isSteeredBase(id: string): boolean {
  return models.value.some(({ root, adapter }) => root === id && adapter !== null) || vectorsOfRoot(id).length > 0;
}

function headOf(side: Side, { id, label }: Contestant): Head {
  const strength = strengthAt(side, id);
  if (strength === null) return { title: label, kind: isSteeredBase(id) ? "base" : "other" };
  return { title: `${label}, strength ${strength.toFixed(2)}`, kind: strength === 0 ? "base" : "steered" };
}
