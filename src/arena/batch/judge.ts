import type { BattleSide } from "../battle-record.js";
import { type ArenaMessage, type Contestant, completeAnswer } from "../contestants/contestant.js";
import type { Winner } from "../ratings/match.js";
import type { BatchPrompt } from "./prompt-set.js";

/**
 * What a judge said of one order. `place`: of the answer shown first (`left`) or second; null: it could not be read.
 */
export interface Judgment {
  readonly order: "leftFirst" | "rightFirst";
  readonly place: Winner | null;
  readonly text: string;
}

export interface JudgedPair {
  /** Null: a judgment could not be read. */
  readonly winner: Winner | null;
  readonly judgments: readonly [Judgment, Judgment];
}

const maxJudgeTokens = 1024;

/**
 * Asks a model which answer is better, in both orders, since judges favour places. Verdicts that differ are a tie.
 * @see Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", arXiv 2306.05685: pairwise comparison,
 *   section 3.4 on positions.
 */
export async function judgePair(
  judge: Contestant,
  prompt: BatchPrompt,
  left: BattleSide,
  right: BattleSide,
  seed: number,
  signal: AbortSignal,
): Promise<JudgedPair> {
  const ask = async (order: Judgment["order"]): Promise<Judgment> => {
    const [first, second] = order === "leftFirst" ? [left, right] : [right, left];
    const messages = judgePrompt(prompt.messages, first.text ?? "", second.text ?? "");
    const answer = await completeAnswer(
      judge,
      { messages, temperature: 0, topP: 1, maxTokens: maxJudgeTokens, seed },
      signal,
    );
    const text = answer.text ?? "";
    return { order, place: readVerdict(text), text };
  };
  const judgments = [await ask("leftFirst"), await ask("rightFirst")] as const;
  return { winner: agreement(judgments[0].place, judgments[1].place), judgments };
}

/** @param swapped the place that was chosen when the right answer stood first. */
export function agreement(straight: Winner | null, swapped: Winner | null): Winner | null {
  if (straight === null || swapped === null) return null;
  const turned = swapped === "left" ? "right" : swapped === "right" ? "left" : swapped;
  return straight === turned ? straight : "tie";
}

/** @returns the last verdict in the text, since models like to weigh both before they end. */
export function readVerdict(text: string): Winner | null {
  switch (text.match(/\[\[(A|B|C)\]\]/g)?.at(-1)) {
    case "[[A]]":
      return "left";
    case "[[B]]":
      return "right";
    case "[[C]]":
      return "tie";
    default:
      return null;
  }
}

/** In the manner of MT-bench's pairwise prompt, with its verdicts [[A]], [[B]] and [[C]]. */
export function judgePrompt(messages: readonly ArenaMessage[], first: string, second: string): readonly ArenaMessage[] {
  const conversation =
    messages.length === 1
      ? (messages[0]?.content ?? "")
      : messages.map(({ role, content }) => `${role}: ${content}`).join("\n\n");
  return [
    {
      role: "system",
      content: [
        "You compare two answers, A and B, to the same request of a user, and say which one serves the user better.",
        "Look at whether the request was followed, and at how helpful, correct, relevant, deep and clear each answer is.",
        "The order of the answers, their length and the style of their wording must not sway you.",
        "First explain your comparison in a few sentences. Then end with exactly one verdict on a line of its own:",
        "[[A]] if answer A is better, [[B]] if answer B is better, [[C]] if they are equally good or equally bad.",
      ].join(" "),
    },
    {
      role: "user",
      content: [
        `[The user's request]\n${conversation}`,
        `[Answer A begins]\n${first}\n[Answer A ends]`,
        `[Answer B begins]\n${second}\n[Answer B ends]`,
      ].join("\n\n"),
    },
  ];
}
