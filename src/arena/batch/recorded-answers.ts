import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { Readable } from "node:stream";
import { text as textOf } from "node:stream/consumers";
import xz from "xz-decompress";
import { z } from "zod";
import { ToastError } from "../../errors.js";
import { type BattleSide, storableText } from "../battle-record.js";
import { readItems } from "./json-lines.js";
import type { BatchPrompt } from "./prompt-set.js";

const name = z.union([z.string(), z.number()]).transform(String);

const answerSchema = z
  .looseObject({
    question_id: name.optional(),
    id: name.optional(),
    /** Vicuna bench, AlpacaEval, own files; MT-bench's `choices` below. */
    text: z.string().optional(),
    output: z.string().optional(),
    answer: z.string().optional(),
    choices: z.array(z.looseObject({ turns: z.array(z.string()).min(1) })).optional(),
    instruction: z.string().optional(),
    model_id: z.string().optional(),
    generator: z.string().optional(),
    model: z.string().optional(),
  })
  .transform((item, context) => {
    const single = item.text ?? item.output ?? item.answer;
    const turns = single === undefined ? item.choices?.[0]?.turns : [single];
    if (turns === undefined) {
      context.addIssue({ code: "custom", message: "has no answer" });
      return z.NEVER;
    }
    return {
      id: item.question_id ?? item.id ?? null,
      instruction: item.instruction ?? null,
      model: item.model_id ?? item.generator ?? item.model ?? null,
      turns: turns.map(storableText),
    };
  });

/** Answers that somebody else has generated, found by the prompt's id or by its words. */
export class RecordedAnswers {
  readonly id: string;
  readonly label: string;
  readonly #path: string;
  /** The answers to a prompt's turns. */
  readonly #byId = new Map<string, readonly string[]>();
  readonly #byWords = new Map<string, readonly string[]>();

  private constructor(path: string, id: string, label: string) {
    this.#path = path;
    this.id = id;
    this.label = label;
  }

  /**
   * Reads `answer_*.jsonl` of Vicuna bench or MT-bench, AlpacaEval's `model_outputs.json` (`.xz` too), or own lines of
   * `{id, text}`.
   * @throws ToastError `file_missing`, `invalid_option`
   */
  static async read(path: string): Promise<RecordedAnswers> {
    const items = await readItems(path, path.endsWith(".xz") ? readXz : undefined);
    const answers = items.map(({ value, where }) => {
      const parsed = answerSchema.safeParse(value);
      if (!parsed.success) {
        throw new ToastError(
          "invalid_option",
          `${where} has no 'text', 'output', 'answer' or 'choices' that would be an answer.`,
        );
      }
      return parsed.data;
    });
    if (answers.length === 0) throw new ToastError("invalid_option", `${path} holds no answer.`);
    const id = answers[0]?.model ?? basename(path).replace(/\.(jsonl|json)(\.xz)?$/, "");
    const recorded = new RecordedAnswers(path, id, id);
    for (const { id, instruction, turns } of answers) {
      if (id !== null) recorded.#byId.set(id, turns);
      if (instruction !== null) recorded.#byWords.set(instruction.trim(), turns);
    }
    return recorded;
  }

  /**
   * @param turn counted from 1.
   * @throws ToastError `invalid_option` when the file has no answer to this prompt's turn.
   */
  answer(prompt: BatchPrompt, turn: number): BattleSide {
    const words = prompt.messages.findLast(({ role }) => role === "user")?.content.trim() ?? "";
    // Words first: a file of other prompts may well use the same numbers.
    const turns = this.#byWords.get(words) ?? this.#byId.get(prompt.id);
    const text = turns?.[turn - 1];
    if (text === undefined) {
      const which = turns === undefined ? "the prompt" : `turn ${turn} of the prompt`;
      const help = turns === undefined ? "" : ` --turns ${turns.length} asks no further ones.`;
      throw new ToastError("invalid_option", `${this.#path} has no answer to ${which} '${prompt.id}'.${help}`);
    }
    return {
      contestant: this.id,
      label: this.label,
      kind: "recorded",
      model: this.id,
      adapter: null,
      steering: null,
      system: null,
      vectorHashes: null,
      systemFingerprint: null,
      weightsHash: null,
      adapterHash: null,
      template: null,
      text,
      promptTokens: null,
      completionTokens: null,
      firstTokenMs: null,
      totalMs: null,
      finishReason: null,
    };
  }
}

async function readXz(path: string): Promise<string> {
  // A missing file would be an error of the stream inside, which has no listener yet.
  await readFile(path).catch((cause: unknown) => {
    throw new ToastError("file_missing", `${path} cannot be read.`, { cause });
  });
  try {
    const stream = new xz.XzReadableStream(Readable.toWeb(createReadStream(path)) as ReadableStream<Uint8Array>);
    return await textOf(stream as AsyncIterable<Uint8Array> as unknown as Readable);
  } catch (cause) {
    throw new ToastError("invalid_option", `${path} is not valid xz data.`, { cause });
  }
}
