import { computed, signal } from "@preact/signals";
import { settings } from "../sampling.js";
import { drawSeed } from "../sampling-fields.js";
import { access, announcement, heedProblem } from "../session.js";
import { callJson, callStream } from "../wire/call.js";
import { problemFrom } from "../wire/problem.js";
import { field, list } from "../wire/read.js";
import { asVoid, type Battle, castVote, newBattle, reveal, type Winner, withFrame, withoutVote } from "./battle.js";

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
/** How many can be drawn for a battle; null until the server has said so. */
export const contestants = signal<number | null>(null);

export async function countContestants(): Promise<void> {
  try {
    contestants.value = list(field(await callJson(access.value, "/v1/contestants"), "data")).length;
  } catch {
    // A battle says then what is wrong.
    contestants.value = null;
  }
}

export const isBusy = computed(() => battle.value?.phase === "answering" || battle.value?.phase === "voting");

let stopping = new AbortController();

export function stop(): void {
  stopping.abort();
}

/** Two answers by two of the contestants; which is which the server keeps to itself. */
export async function start(): Promise<void> {
  const content = prompt.value.trim();
  if (content === "" || isBusy.value) return;
  stopping = new AbortController();
  announcement.value = "";
  let state = newBattle(content);
  battle.value = state;
  const { temperature, top_p, max_tokens } = settings.value.sampling;
  const body = {
    prompt: content,
    ...(temperature === null ? {} : { temperature }),
    ...(top_p === null ? {} : { top_p }),
    ...(max_tokens === null ? {} : { max_tokens }),
  };
  try {
    for await (const frame of callStream(access.value, "/v1/arena/battles", body, stopping.signal)) {
      state = withFrame(state, frame);
      battle.value = state;
    }
    if (state.phase === "answering") battle.value = asVoid(state, "The server ended this battle without a result.");
  } catch (error) {
    if (stopping.signal.aborted) {
      battle.value = asVoid(state, "Stopped: this battle does not count.");
    } else {
      const problem = problemFrom(error);
      battle.value = asVoid(state, problem.sentence);
      heedProblem(problem);
    }
  }
  announcement.value =
    battle.value.phase === "void" ? battle.value.sentence : "Both answers are complete. Which one is better?";
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
