import { effect } from "@preact/signals";
import { problemsOf } from "../chat/shared-link.js";
import { type Settings, settings } from "../sampling.js";
import { models, phase } from "../session.js";
import { readSteeringFragment, type SharedPrompt, steeringFragment } from "../share-link.js";
import { base, given, isGivenAsSet, layers, prompt, run, seed, shown, steered, watched } from "./steering-state.js";

/** The view's address carries all that both answers follow from: a reload, or another browser, has them again. */

/** @returns a link to what is shown; null before anything is. */
export function linkToShown(): string | null {
  const { asked } = shown.value;
  return asked === null ? null : `${location.origin}${location.pathname}${steeringFragment(asked)}`;
}

/** What the last link wants, and the settings as they were; no signal: it changes together with {@link given}. */
let linked: { readonly prompt: SharedPrompt; readonly before: Settings } | null = null;

/** What of the prompt that a link has brought this server lacks, in sentences. */
export function linkProblems(): readonly string[] {
  return linked === null || given.value === null || models.value.length === 0 ? [] : problemsOf(linked.prompt);
}

/** Dials and settings as they were before the link. */
export function putBack(): void {
  if (linked !== null) settings.value = linked.before;
  linked = null;
  given.value = null;
}

/** Called while the view is open. @returns ends it. */
export function followAddress(): () => void {
  let isWaiting = open();
  const onChange = () => {
    isWaiting = open();
    runOnce();
  };
  const runOnce = () => {
    if (!isWaiting || phase.value.kind !== "ready" || watched.value === null) return;
    isWaiting = false;
    if (isGivenAsSet()) given.value = null;
    // Another model or vector would answer: whoever followed the link decides.
    if (linkProblems().length === 0) void run();
  };
  addEventListener("hashchange", onChange);
  const stopRunning = effect(runOnce);
  const stopWriting = effect(() => {
    const { asked } = shown.value;
    if (asked !== null) history.replaceState(null, "", steeringFragment(asked));
  });
  return () => {
    removeEventListener("hashchange", onChange);
    stopRunning();
    stopWriting();
  };
}

/** Fills the view with what the address carries. @returns whether there was something that is not shown already. */
function open(): boolean {
  const shared = readSteeringFragment(location.hash);
  if (shared === null || linkToShown()?.endsWith(location.hash) === true) return false;
  const { model, strength, vectors, systemPrompt, sampling, messages } = shared.prompt;
  const before = settings.value;
  settings.value = {
    ...settings.value,
    model,
    strength: strength ?? settings.value.strength,
    vectors: Object.fromEntries(vectors.map(({ name, strength, layers }) => [name, { strength, layers }])),
  };
  prompt.value = messages.at(-1)?.content ?? "";
  seed.value = sampling.seed ?? seed.value;
  layers.value = shared.layers;
  base.value = null;
  steered.value = null;
  shown.value = { ...shown.value, asked: null };
  linked = { prompt: shared.prompt, before: linked?.before ?? before };
  given.value = { history: messages.slice(0, -1), systemPrompt, sampling };
  return true;
}
