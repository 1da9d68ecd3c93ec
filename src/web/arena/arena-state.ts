import { computed, signal } from "@preact/signals";
import { type Contestant, nothingChosen, readContestants, type StackChoice, spelled } from "../contestants.js";
import { settings } from "../sampling.js";
import { drawSeed } from "../sampling-fields.js";
import { access, announcement, heedProblem, modelOf, models, vectorsOfRoot } from "../session.js";
import { knownOf } from "../vector-stack.js";
import { callJson, callStream } from "../wire/call.js";
import { problemFrom } from "../wire/problem.js";
import { defaultModel } from "../wire/server.js";
import {
  asVoid,
  type Battle,
  castVote,
  newBattle,
  reveal,
  type Winner,
  withFrame,
  withoutVote,
  withTurn,
} from "./battle.js";

/** For whoever has judged all that came to mind. */
const prompts = [
  "Give three tips for staying healthy.",
  "What should I eat for breakfast?",
  "Describe the old house at the end of the street.",
  "What makes a good friend?",
  "Tell me a story about a lonely robot.",
  "How do I make tea?",
  "Why is the sky blue?",
  "Write a letter to a sister who lives far away.",
  "What would you do with a free day?",
  "Explain to a child what money is.",
  "Describe a storm at sea.",
  "How can I sleep better?",
  "What is the best way to learn a language?",
  "Write a short poem about the rain.",
  "What happened at the party?",
  "Name three animals that live in the forest.",
];

export const prompt = signal(prompts[0] ?? "");

/** Another prompt than the one that stands there. */
export function drawPrompt(): void {
  const others = prompts.filter((one) => one !== prompt.value);
  prompt.value = others[drawSeed() % others.length] ?? prompt.value;
}
export const battle = signal<Battle | null>(null);
/** What both are asked next, in the battle that is open. */
export const nextPrompt = signal("");
/** Who can be drawn for a battle, or chosen; null until the server has said so. */
export const contestants = signal<readonly Contestant[] | null>(null);
/** Whether the two are drawn by lot or chosen; who is on the left is drawn in either case. */
export const chosenPairing = signal<"lot" | "chosen">("lot");
/** One contestant alone cannot be drawn twice, but be held against itself, steered. */
export const canDraw = computed(() => contestants.value === null || contestants.value.length > 1);
export const pairing = computed(() => (canDraw.value ? chosenPairing.value : "chosen"));

/** The two of a chosen pair. */
export type Place = "one" | "other";
export const pair = signal<Readonly<Record<Place, StackChoice>>>({ one: nothingChosen, other: nothingChosen });

export async function loadContestants(): Promise<void> {
  try {
    contestants.value = await readContestants(access.value);
  } catch {
    // A battle says then what is wrong.
    contestants.value = null;
  }
}

/** @returns the chosen contestant, else what a newcomer should see: steered against its base. */
export function contestantOf(place: Place): Contestant | null {
  const all = contestants.value ?? [];
  const chosen = all.find(({ id }) => id === pair.value[place].contestant);
  if (chosen !== undefined) return chosen;
  const steered = defaultModel(models.value);
  const id = place === "one" ? steered?.id : steered?.root;
  return all.find((one) => one.id === id) ?? all.at(place === "one" ? 0 : -1) ?? null;
}

/** @returns how the arena spells a side of the chosen pair. */
function wordOf(place: Place): string {
  const contestant = contestantOf(place);
  const model = contestant === null ? null : modelOf(contestant.id);
  if (contestant === null || model === null) return contestant?.id ?? "";
  const { strength, vectors } = pair.value[place];
  const known = vectorsOfRoot(model.root).map(({ name }) => name);
  return spelled(contestant.id, model.adapter === null ? null : strength, knownOf(vectors, known));
}

/** Whether both sides of the chosen pair are one and the same. */
export const isSamePair = computed(() => pairing.value === "chosen" && wordOf("one") === wordOf("other"));

export const isBusy = computed(() => battle.value?.phase === "answering" || battle.value?.phase === "voting");
/** Whether a battle waits for its end: nothing else is begun beside it. */
export const isOpen = computed(() => isBusy.value || battle.value?.phase === "complete");

let stopping = new AbortController();

export function stop(): void {
  stopping.abort();
}

/** Leaves the battle without a vote, and begins one on another prompt. */
export async function skip(): Promise<void> {
  stopping.abort();
  battle.value = null;
  drawPrompt();
  await start();
}

/** Two answers by two of the contestants; which is which the server keeps to itself. */
export async function start(): Promise<void> {
  const content = prompt.value.trim();
  if (content === "" || isOpen.value || isSamePair.value) return;
  const { temperature, top_p, max_tokens } = settings.value.sampling;
  const body = {
    prompt: content,
    ...(pairing.value === "lot" ? {} : { contestants: [wordOf("one"), wordOf("other")] }),
    ...(temperature === null ? {} : { temperature }),
    ...(top_p === null ? {} : { top_p }),
    ...(max_tokens === null ? {} : { max_tokens }),
  };
  nextPrompt.value = "";
  await follow(newBattle(content), "/v1/arena/battles", body, "this battle does not count");
}

/** Asks both something more; each goes on with what it has said itself. */
export async function askBoth(): Promise<void> {
  const now = battle.value;
  const content = nextPrompt.value.trim();
  if (now?.phase !== "complete" || content === "") return;
  const { id, ballot } = now;
  nextPrompt.value = "";
  const path = `/v1/arena/battles/${encodeURIComponent(id)}/turns`;
  await follow(withTurn(now, content), path, { ballot, prompt: content }, "this turn does not count");
  // What came to nothing may be asked again.
  if (battle.value?.phase === "complete" && battle.value.problem !== null) nextPrompt.value = content;
}

/** Shows a battle while its frames come. @param price what stopping it costs, as the end of a sentence. */
async function follow(begun: Battle, path: string, body: object, price: string): Promise<void> {
  const own = new AbortController();
  stopping = own;
  announcement.value = "";
  let state = begun;
  const show = (next: Battle) => {
    state = next;
    if (stopping === own) battle.value = next;
  };
  show(begun);
  try {
    for await (const frame of callStream(access.value, path, body, own.signal)) show(withFrame(state, frame));
    if (state.phase === "answering") show(asVoid(state, "The server ended this battle without a result."));
  } catch (error) {
    if (own.signal.aborted) {
      show(asVoid(state, `Stopped: ${price}.`));
    } else {
      const problem = problemFrom(error);
      show(asVoid(state, problem.sentence));
      heedProblem(problem);
    }
  }
  if (stopping !== own) return;
  announcement.value = state.phase === "void" ? state.sentence : "Both answers are complete. Which one is better?";
}

export async function vote(winner: Winner): Promise<void> {
  if (battle.value?.phase !== "complete") return;
  const { id, ballot } = battle.value;
  battle.value = castVote(battle.value, winner);
  try {
    const record = await callJson(access.value, `/v1/arena/battles/${encodeURIComponent(id)}/vote`, {
      method: "POST",
      body: { ballot, winner },
    });
    battle.value = reveal(battle.value, record);
  } catch (error) {
    const problem = problemFrom(error);
    battle.value = withoutVote(battle.value, problem);
    heedProblem(problem);
  }
  if (battle.value.phase === "revealed") {
    const { left, right } = battle.value.names;
    announcement.value = `Vote stored. Left was ${left.label}, right was ${right.label}.`;
  }
}
