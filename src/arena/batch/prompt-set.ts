import { z } from "zod";
import { ToastError } from "../../errors.js";
import { storableText } from "../battle-record.js";
import type { ArenaMessage } from "../contestants/contestant.js";
import { readItems } from "./json-lines.js";

export interface BatchPrompt {
  /** Of the set; recorded answers and verdicts name it. */
  readonly id: string;
  readonly messages: readonly ArenaMessage[];
  /** What the user says next, each behind the answer to what came before; none for most prompts. */
  readonly turns: readonly string[];
  readonly category: string | null;
}

const name = z.union([z.string(), z.number()]).transform(String);
const text = z.string().min(1).transform(storableText);
const input = z.string().nullish();

const noTurns: readonly string[] = [];

/** The formats that prompt sets come in; the first that fits is taken. */
const itemSchema = z.union([
  // Our own, and a conversation.
  z
    .looseObject({
      messages: z.array(z.object({ role: z.enum(["system", "user", "assistant"]), content: text })).min(1),
      id: name.optional(),
      category: z.string().nullish(),
    })
    .transform(({ messages, id, category }) => ({ id, category, messages, turns: noTurns })),
  // Self-Instruct's 252 user-oriented tasks: one instance each; the application is the category.
  z
    .looseObject({
      instruction: text,
      instances: z.array(z.looseObject({ input })).min(1),
      id: name.optional(),
      motivation_app: z.string().nullish(),
    })
    .transform(({ instruction, instances, id, motivation_app }) => ({
      id,
      category: motivation_app,
      messages: [user(instruction, instances[0]?.input)],
      turns: noTurns,
    })),
  // MT-bench: several turns of the user.
  z
    .looseObject({ turns: z.array(text).min(1), question_id: name.optional(), category: z.string().nullish() })
    .transform(({ turns, question_id, category }) => ({
      id: question_id,
      category,
      messages: [user(turns[0] ?? "", null)],
      turns: turns.slice(1),
    })),
  // The Vicuna questions, AlpacaEval, and own files: `text`, `instruction` or `prompt`, with an input or without.
  z
    .looseObject({
      text: text.optional(),
      instruction: text.optional(),
      prompt: text.optional(),
      input,
      id: name.optional(),
      question_id: name.optional(),
      category: z.string().nullish(),
      dataset: z.string().nullish(),
    })
    .transform((item, context) => {
      const words = item.instruction ?? item.prompt ?? item.text;
      if (words === undefined) {
        context.addIssue({ code: "custom", message: "has no prompt" });
        return z.NEVER;
      }
      return {
        id: item.id ?? item.question_id,
        category: item.category ?? item.dataset,
        messages: [user(words, item.input)],
        turns: noTurns,
      };
    }),
]);

/**
 * Alpaca's own block for an input: its template knows it, and any other model can read it.
 * @see builtin-templates.ts
 */
function user(instruction: string, input: string | null | undefined): ArenaMessage {
  const content =
    input === undefined || input === null || input.trim() === ""
      ? instruction
      : `${instruction}\n\n### Input:\n${input}`;
  return { role: "user", content: storableText(content) };
}

/**
 * @param limit takes the first so many; null: all.
 * @param mostTurns of each; null: all.
 * @throws ToastError `file_missing`; `invalid_option` for an item without a prompt, an id that stands twice, or a file
 *   without any.
 */
export async function readPromptSet(
  path: string,
  limit: number | null,
  mostTurns: number | null = null,
): Promise<readonly BatchPrompt[]> {
  const items = await readItems(path);
  const prompts = items.slice(0, limit ?? items.length).map(({ value, where }, index): BatchPrompt => {
    const parsed = itemSchema.safeParse(value);
    if (!parsed.success) {
      const message = `${where} has no 'prompt', 'instruction', 'text', 'turns' or 'messages' to ask.`;
      throw new ToastError("invalid_option", message);
    }
    const { id, messages, turns, category } = parsed.data;
    return {
      id: id ?? String(index + 1),
      messages,
      turns: turns.slice(0, (mostTurns ?? turns.length + 1) - 1),
      category: category ?? null,
    };
  });
  if (prompts.length === 0) throw new ToastError("invalid_option", `${path} holds no prompt.`);
  const seen = new Set<string>();
  for (const { id } of prompts) {
    if (seen.has(id)) throw new ToastError("invalid_option", `${path} has two prompts of the id '${id}'.`);
    seen.add(id);
  }
  return prompts;
}
