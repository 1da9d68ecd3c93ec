import type { Pair } from "../battles/two-answers.js";
import { type ArenaMessage, type Contestant, completeAnswer } from "../contestants/contestant.js";
import type { Winner } from "../ratings/match.js";

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

/** An answer, and the conversation that it is the answer in. */
export interface Answered {
  readonly messages: readonly ArenaMessage[];
  readonly answer: string;
}

/**
 * Asks a model which answer is better, in both orders, since judges favour places. Verdicts that differ are a tie.
 * @see Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", arXiv 2306.05685: pairwise comparison,
 *   section 3.4 on positions.
 */
export async function judgePair(
  judge: Contestant,
  { left, right }: Pair<Answered>,
  seed: number,
  signal: AbortSignal,
): Promise<JudgedPair> {
  const ask = async (order: Judgment["order"]): Promise<Judgment> => {
    const [first, second] = order === "leftFirst" ? [left, right] : [right, left];
    const messages = judgePrompt(first, second);
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

/**
 * In the manner of MT-bench's pairwise prompts, with their verdicts [[A]], [[B]] and [[C]]: what both were asked is
 * shown once, and in further turns each answer stands behind its own conversation.
 */
export function judgePrompt(first: Answered, second: Answered): readonly ArenaMessage[] {
  const shared = JSON.stringify(first.messages) === JSON.stringify(second.messages);
  const answers = [
    `[Answer A begins]\n${first.answer}\n[Answer A ends]`,
    `[Answer B begins]\n${second.answer}\n[Answer B ends]`,
  ];
  return [
    {
      role: "system",
      content: [
        "You compare two answers, A and B, to the same request of a user, and say which one serves the user better.",
        ...(shared ? [] : ["Each ends a conversation of its own: judge the answer to the user's last message in it."]),
        "Look at whether the request was followed, and at how helpful, correct, relevant, deep and clear each answer is.",
        "The order of the answers, their length and the style of their wording must not sway you.",
        "First explain your comparison in a few sentences. Then end with exactly one verdict on a line of its own:",
        "[[A]] if answer A is better, [[B]] if answer B is better, [[C]] if they are equally good or equally bad.",
      ].join(" "),
    },
    {
      role: "user",
      content: (shared
        ? [`[The user's request]\n${conversationText(first.messages)}`, ...answers]
        : [
            `[Conversation with A]\n${conversationText(first.messages)}`,
            answers[0],
            `[Conversation with B]\n${conversationText(second.messages)}`,
            answers[1],
          ]
      ).join("\n\n"),
    },
  ];
}

function conversationText(messages: readonly ArenaMessage[]): string {
  const [only] = messages;
  if (messages.length === 1 && only !== undefined) return only.content;
  return messages.map(({ role, content }) => `${role}: ${content}`).join("\n\n");
}
