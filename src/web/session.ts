import { computed, effect, signal } from "@preact/signals";
import { storedSignal } from "./parts/stored.js";
import type { Access } from "./wire/call.js";
import { type Problem, ProblemError, problemFrom } from "./wire/problem.js";
import { text } from "./wire/read.js";
import {
  type ModelEntry,
  readModels,
  readPhase,
  readVectors,
  type ServerPhase,
  type VectorEntry,
} from "./wire/server.js";

/** What every view shares: the server's state, its models, the key, the theme, the place in the page. */

export type Theme = "system" | "light" | "dark";
export type Place = "chat" | "vectors" | "steering" | "compare" | "arena" | "leaderboard";

const places: readonly Place[] = ["chat", "vectors", "steering", "compare", "arena", "leaderboard"];

export const phase = signal<ServerPhase>({ kind: "unknown" });
export const models = signal<readonly ModelEntry[]>([]);
export const vectors = signal<readonly VectorEntry[]>([]);
/** Whether the server wants a key; the field then shows, with the server's sentence once one was refused. */
export const keyWanted = signal<{ readonly sentence: string } | null>(null);

/** Gone with the tab, unless the user wants it kept. */
const keyOfTab = storedSignal("toast-serve:key", (stored) => text(stored) ?? "", sessionStorage);
const keyOfDevice = storedSignal("toast-serve:key", (stored) => text(stored) ?? "", localStorage);
export const access = computed<Access>(() => ({ apiKey: keyOfTab.value || keyOfDevice.value }));
export const keyIsRemembered = computed(() => keyOfDevice.value !== "");

export const theme = storedSignal<Theme>(
  "toast-serve:theme",
  (stored) => (stored === "light" || stored === "dark" ? stored : "system"),
  localStorage,
);

export const place = signal<Place>(placeOf(location.hash) ?? "chat");

/** A word for screen readers; each new text is read out once. */
export const announcement = signal("");

let watching: ReturnType<typeof setTimeout> | null = null;

/** Follows the server until it is ready and its models are known. Called again whenever an answer makes one doubt. */
export function watchServer(): void {
  if (watching !== null) return;
  watching = setTimeout(async () => {
    const wait = await lookAtServer();
    watching = null;
    if (wait !== null) {
      watching = setTimeout(() => {
        watching = null;
        watchServer();
      }, wait);
    }
  }, 0);
}

/** @returns milliseconds until the next look, null when all is known. */
async function lookAtServer(): Promise<number | null> {
  const seen = await readPhase();
  if (seen.kind !== "ready") {
    phase.value = seen;
    return seen.kind === "loading" ? 300 : 2_000;
  }
  try {
    [models.value, vectors.value] = await Promise.all([
      readModels(access.value),
      readVectors(access.value).catch(() => []),
    ]);
    phase.value = seen;
    keyWanted.value = null;
    return null;
  } catch (error) {
    if (error instanceof ProblemError && error.problem.kind === "key") {
      phase.value = seen;
      askForKey(error.problem.sentence);
      return null;
    }
    return 1_000;
  }
}

/** To be told of every failure that a view shows, so that the whole page learns from it. */
export function heedProblem(problem: Problem): void {
  if (problem.kind === "key") {
    askForKey(problem.sentence);
  } else {
    watchServer();
  }
}

function askForKey(sentence: string): void {
  keyWanted.value = {
    sentence: access.value.apiKey === "" ? "This server wants an API key. Enter yours to go on." : sentence,
  };
}

export function enterKey(key: string, remember: boolean): void {
  keyOfTab.value = key;
  keyOfDevice.value = remember ? key : "";
  watchServer();
}

export function forgetKey(): void {
  keyOfTab.value = "";
  keyOfDevice.value = "";
  watchServer();
}

/** Null for what is no view, such as the skip link's target. What a link to share carries stands behind a `?`, a
 * conversation's name behind a `/`. */
function placeOf(hash: string): Place | null {
  return places.find((name) => /^#\/([a-z]+)/.exec(hash)?.[1] === name) ?? null;
}

/** Called once, by the page. */
export function startSession(): void {
  addEventListener("hashchange", () => {
    place.value = placeOf(location.hash) ?? place.value;
  });
  // Adapters come and go while the page lies in another tab.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") watchServer();
  });
  effect(() => {
    document.documentElement.setAttribute("data-theme", theme.value);
  });
  watchServer();
}

/** Reads the vectors anew, after one was made, renamed or deleted here. */
export async function reloadVectors(): Promise<void> {
  try {
    vectors.value = await readVectors(access.value);
  } catch (error) {
    heedProblem(problemFrom(error));
  }
}

/** The control vectors of a base. */
export function vectorsOfRoot(root: string): readonly VectorEntry[] {
  return vectors.value.filter((vector) => vector.root === root);
}

/** Whether something that steers is served for this very model: it is a base, and any other a rival. */
export function isSteeredBase(id: string): boolean {
  return models.value.some(({ root, adapter }) => root === id && adapter !== null) || vectorsOfRoot(id).length > 0;
}

export function modelOf(id: string): ModelEntry | null {
  return models.value.find((model) => model.id === id) ?? null;
}
