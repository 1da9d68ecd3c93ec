import { join } from "node:path";
import type { ModelFolder } from "../../model/model-folder.js";
import { ChatTemplate } from "../../text/chat-template.js";
import { Tokenizer } from "../../text/tokenizer.js";
import { edits } from "./instructions.js";

/** Token ids to send to an engine; the same number always gives the same ids. */
export interface BenchPrompts {
  /** What somebody might ask. */
  question(number: number): readonly number[];
  /** What is answered with much of its own words; null: there are no words. */
  readonly edits: readonly (readonly number[])[] | null;
  /** Exactly so many tokens; those of different numbers begin differently, so that no cache of prefixes helps. */
  ofLength(length: number, number: number): readonly number[];
}

/** Real text, in the chat format of the adapter. */
export async function textPrompts(
  folder: ModelFolder,
  adapterName: string | null,
  questions: readonly string[],
): Promise<BenchPrompts> {
  const { manifest } = folder;
  const tokenizer = await Tokenizer.fromFile(join(folder.path, manifest.files.tokenizer.name));
  const adapter = folder.adapters.find((candidate) => candidate.manifest.name === adapterName);
  const source = adapter?.manifest.chatTemplate ?? manifest.chatTemplate;
  const specials = { bosToken: manifest.tokens.bos?.text ?? "", eosToken: manifest.tokens.eos[0]?.text ?? "" };
  const template = source === null ? null : new ChatTemplate(source, specials);
  const encode = (content: string): readonly number[] =>
    template === null
      ? tokenizer.encode(content, { addSpecialTokens: true })
      : tokenizer.encode(template.render([{ role: "user", content }], { addGenerationPrompt: true }), {
          addSpecialTokens: false,
        });
  const encoded = questions.map(encode);
  const corpus = tokenizer.encode(questions.join("\n"), { addSpecialTokens: false });
  return {
    question: (number) => encoded[number % encoded.length] ?? [],
    edits: edits.map(encode),
    // A prime apart, which hardly any length of text is a multiple of.
    ofLength: (length, number) =>
      Array.from({ length }, (_, index) => corpus[(97 * number + index) % corpus.length] ?? 0),
  };
}

/** Ids without meaning, for weights without meaning. @param seed unsigned 32-bit */
export function randomPrompts(vocabSize: number, seed: number): BenchPrompts {
  const ofLength = (length: number, number: number): readonly number[] => {
    let state = (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b)) | 1;
    return Array.from({ length }, () => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % vocabSize;
    });
  };
  return { question: (number) => ofLength(32, number), edits: null, ofLength };
}
