import type { Engine, VectorEngine } from "../../engine/engine.js";
import type { Prompt } from "../../engine/prompt.js";
import { ToastError } from "../../errors.js";
import type { ChatMessage } from "../../text/chat-message.js";
import { unfinishedSentences } from "./unfinished-sentences.js";

/** The two sides that a control vector points from and to. */
export type VectorSides =
  /** Descriptions that stand behind "Act as if you are …": `a pirate`. */
  | { readonly kind: "personas"; readonly positive: string; readonly negative: string }
  /** Texts that are examples of each side. */
  | { readonly kind: "texts"; readonly positive: readonly string[]; readonly negative: readonly string[] }
  /** Conversations that differ in what makes the side. */
  | {
      readonly kind: "chats";
      readonly pairs: readonly {
        readonly positive: readonly ChatMessage[];
        readonly negative: readonly ChatMessage[];
      }[];
    };

/** Bounds of what a vector may be made of. */
export const sideLimits = { fewest: 2, most: 256, personaCharacters: 300, characters: 8_000 } as const;

/** A prompt whose layer outputs stand for a side. */
export interface SidePrompt {
  readonly ids: readonly number[];
  /** Means over so many of its last tokens. */
  readonly lastTokens: number;
}

export interface SidePrompts {
  readonly positive: readonly SidePrompt[];
  readonly negative: readonly SidePrompt[];
  readonly paired: boolean;
}

/** What is asked of an engine to make a vector. */
export type MakingEngine = VectorEngine & Pick<Engine, "generate" | "ask">;

/** The first tokens of a text say little yet, and the very first is a place where models put what they need nowhere. */
const passedOver = 4;

/**
 * @throws ToastError `invalid_vector` for sides that no direction can come of: too few or too many examples, equal
 *   sides.
 */
export function checkSides(sides: VectorSides): void {
  switch (sides.kind) {
    case "personas": {
      for (const side of ["positive", "negative"] as const) {
        const text = sides[side].trim();
        if (text === "") throw invalid(`'${side}' is empty: describe somebody, such as 'a pirate'.`, side);
        if (text.length > sideLimits.personaCharacters) {
          throw invalid(
            `'${side}' has ${text.length} characters; a description has ${sideLimits.personaCharacters} at most.`,
            side,
          );
        }
      }
      if (same(sides.positive, sides.negative)) throw equalSides();
      break;
    }
    case "texts":
      for (const side of ["positive", "negative"] as const) {
        checkCount(sides[side].length, `'${side}' has`, side);
        for (const [index, text] of sides[side].entries()) checkText(text, `${side}[${index}]`);
      }
      if (same(sides.positive.join("\n"), sides.negative.join("\n"))) throw equalSides();
      break;
    case "chats":
      checkCount(sides.pairs.length, "'pairs' has", "pairs");
      for (const [index, { positive, negative }] of sides.pairs.entries()) {
        for (const [side, messages] of Object.entries({ positive, negative })) {
          if (messages.length === 0)
            throw invalid(`'pairs[${index}].${side}' has no messages.`, `pairs[${index}].${side}`);
          checkText(messages.map(({ content }) => content).join(""), `pairs[${index}].${side}`);
        }
        if (JSON.stringify(positive) === JSON.stringify(negative)) {
          throw invalid(
            `The two sides of 'pairs[${index}]' are equal; let them differ in what the vector is to steer.`,
            `pairs[${index}]`,
          );
        }
      }
      break;
  }
}

function checkCount(count: number, has: string, param: string): void {
  const { fewest, most } = sideLimits;
  if (count < fewest) {
    throw invalid(
      `${has} ${count === 1 ? "one example only" : "no examples"}; a direction needs ${fewest} at least, and 10 or more are better.`,
      param,
    );
  }
  if (count > most) throw invalid(`${has} ${count} examples; up to ${most} are taken.`, param);
}

function checkText(text: string, param: string): void {
  const { characters } = sideLimits;
  if (text.trim() === "") throw invalid(`'${param}' is empty.`, param);
  if (text.length > characters)
    throw invalid(`'${param}' has ${text.length} characters; an example has ${characters} at most.`, param);
}

/**
 * The prompts of both sides, as tokens.
 * @throws ToastError of the tokenizer and of the chat template.
 */
export async function sidePrompts(sides: VectorSides, engine: Pick<Engine, "ask">): Promise<SidePrompts> {
  const encode = async (prompt: Prompt) => (await engine.ask({ kind: "encode", prompt, adapter: null })).ids;
  const all = <T>(items: readonly T[], of: (item: T) => Promise<SidePrompt>) => Promise.all(items.map(of));
  switch (sides.kind) {
    case "personas": {
      const { chatTemplate } = await engine.ask({ kind: "describe", adapter: null });
      const of = (persona: string) =>
        all(unfinishedSentences, async (sentence) => {
          return { ids: await encode(personaPrompt(persona, sentence, chatTemplate !== null)), lastTokens: 1 };
        });
      return { positive: await of(sides.positive), negative: await of(sides.negative), paired: true };
    }
    case "texts": {
      const of = async (text: string): Promise<SidePrompt> => {
        const ids = await encode({ kind: "text", text, addSpecialTokens: true });
        return { ids, lastTokens: Math.max(1, ids.length - passedOver) };
      };
      return { positive: await all(sides.positive, of), negative: await all(sides.negative, of), paired: false };
    }
    case "chats": {
      const of = (messages: readonly ChatMessage[]) => chatPrompt(messages, encode);
      return {
        positive: await all(sides.pairs, ({ positive }) => of(positive)),
        negative: await all(sides.pairs, ({ negative }) => of(negative)),
        paired: true,
      };
    }
  }
}

function personaPrompt(persona: string, sentence: string, hasTemplate: boolean): Prompt {
  const told = `Act as if you are ${persona.trim().replace(/\.$/, "")}.`;
  if (!hasTemplate) return { kind: "text", text: `${told}\n\n${sentence}`, addSpecialTokens: true };
  return {
    kind: "chat",
    messages: [
      { role: "user", content: told },
      { role: "assistant", content: sentence },
    ],
    rendering: { addGenerationPrompt: false, continueFinalMessage: true, variables: {} },
  };
}

/** A last message of the assistant is read as a whole; behind any other, the place where the answer begins. */
async function chatPrompt(
  messages: readonly ChatMessage[],
  encode: (prompt: Prompt) => Promise<readonly number[]>,
): Promise<SidePrompt> {
  const last = messages.at(-1);
  if (last?.role !== "assistant") return { ids: await encode({ kind: "chat", messages }), lastTokens: 1 };
  const rendering = { addGenerationPrompt: false, continueFinalMessage: true, variables: {} };
  const ids = await encode({ kind: "chat", messages, rendering });
  const before = messages.length === 1 ? 0 : (await encode({ kind: "chat", messages: messages.slice(0, -1) })).length;
  return { ids, lastTokens: Math.max(1, ids.length - Math.max(before, passedOver)) };
}

function same(a: string, b: string): boolean {
  return a.trim().toLowerCase() === b.trim().toLowerCase();
}

export function equalSides(): ToastError {
  return invalid(
    "'positive' and 'negative' are the same; a vector points from one to the other, so let them differ.",
    "negative",
  );
}

function invalid(message: string, param: string): ToastError {
  return new ToastError("invalid_vector", message, { param });
}
