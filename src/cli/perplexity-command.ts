import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { z } from "zod";
import { type LoadedModel, loadModel, releaseModel } from "../engine/load-model.js";
import { type ScoringPass, scoreTokens } from "../engine/score-tokens.js";
import { ToastError } from "../errors.js";
import { positiveInteger } from "./positive-integer.js";
import { progressLine } from "./progress-line.js";
import type { Terminal } from "./terminal.js";

interface PerplexityFlags {
  readonly text: string;
  readonly block: number;
  readonly maxTokens: number;
  readonly threads?: number;
  readonly json?: true;
}

/** How well one served model predicts a text. */
export interface Perplexity {
  readonly model: string;
  readonly quantization: string;
  readonly tokens: number;
  readonly bytes: number;
  readonly perplexity: number;
  readonly bitsPerByte: number;
}

export function perplexityCommand(terminal: Terminal): Command {
  return new Command("perplexity")
    .description("measure how well a model predicts a text, plain and steered by each adapter")
    .argument("<folder>", "a converted model folder")
    .requiredOption("--text <file>", "plain text, or .jsonl with a field 'text' on each line")
    .option(
      "--block <tokens>",
      "context of each prediction at most; a block begins anew with BOS",
      positiveInteger,
      512,
    )
    .option("--max-tokens <number>", "stop after this many tokens", positiveInteger, 50_000)
    .option("--threads <number>", "threads of one forward (default: the engine's choice)", positiveInteger)
    .option("--json", "print the result as JSON")
    .addHelpText("after", examples)
    .action((folder: string, flags: PerplexityFlags) => run(folder, flags, terminal));
}

const examples = `
Lower is better; text that the model was trained on says nothing.

Examples:
  $ toast-serve perplexity models/toast-tiny --text held-out.txt
  $ toast-serve convert ./base --out /tmp/fp32 --quantize none && toast-serve perplexity /tmp/fp32 --text held-out.txt
      what int8 costs: compare the two`;

async function run(folder: string, flags: PerplexityFlags, terminal: Terminal): Promise<void> {
  const progress = progressLine(terminal, "Measuring");
  try {
    const texts = documentsOf(await readFile(flags.text, "utf8").catch(unreadable(flags.text)), flags.text);
    const model = await loadModel(folder, flags, (stage) => progress.update(stage, 0));
    const results = await measurePerplexity(model, texts, flags, (fraction) => progress.update("scoring", fraction));
    await releaseModel(model);
    progress.end();
    for (const line of flags.json === true ? [JSON.stringify(results, null, 2)] : tableOf(results)) terminal.out(line);
  } finally {
    progress.end();
  }
}

/** Scores the texts with the base and with each adapter at strength 1. */
export async function measurePerplexity(
  model: LoadedModel,
  texts: readonly string[],
  { block, maxTokens }: { readonly block: number; readonly maxTokens: number },
  onProgress: (fraction: number) => void = () => {},
): Promise<readonly Perplexity[]> {
  const { manifest } = model.folder;
  const blocks = blocksOf(model, texts, Math.min(block, manifest.architecture.contextLength), maxTokens);
  if (blocks.length === 0) throw new ToastError("invalid_option", "The text has no tokens to predict.");
  const passes: { readonly id: string; readonly pass: ScoringPass }[] = [
    { id: manifest.id, pass: { kind: "plain" } },
    ...[...model.adapters].map(([name, adapter]): { id: string; pass: ScoringPass } => ({
      id: `${manifest.id}:${name}`,
      pass: { kind: "steered", adapter, gains: new Float32Array(manifest.architecture.layers).fill(1) },
    })),
  ];
  const results: Perplexity[] = [];
  for (const [passIndex, { id, pass }] of passes.entries()) {
    let tokens = 0;
    let bytes = 0;
    let logProbability = 0;
    for (const [blockIndex, { ids, bytes: blockBytes }] of blocks.entries()) {
      onProgress((passIndex + blockIndex / blocks.length) / passes.length);
      const scores = await scoreTokens(model.decoder, pass, ids, 128);
      tokens += scores.length;
      bytes += blockBytes;
      for (const score of scores) logProbability += score;
    }
    results.push({
      model: id,
      quantization: manifest.quantization,
      tokens,
      bytes,
      perplexity: Math.exp(-logProbability / tokens),
      bitsPerByte: -logProbability / Math.LN2 / bytes,
    });
  }
  return results;
}

interface Block {
  /** BOS first, when the model has one. */
  readonly ids: readonly number[];
  /** Of the text that the predicted tokens spell. */
  readonly bytes: number;
}

function blocksOf(model: LoadedModel, texts: readonly string[], size: number, maxTokens: number): Block[] {
  const { tokenizer, folder } = model;
  const { bos } = folder.manifest.tokens;
  const start = bos === null ? [] : [bos.id];
  const blocks: Block[] = [];
  let left = maxTokens;
  for (const text of texts) {
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    for (let from = 0; from < ids.length && left > 0; from += size - start.length) {
      const part = ids.slice(from, Math.min(from + size - start.length, from + left));
      left -= part.length;
      // Without BOS a block's first token is given, not predicted.
      const predicted = start.length > 0 ? part : part.slice(1);
      if (predicted.length === 0) continue;
      // The space that encoding puts in front of a text is none of its bytes.
      const placeOf = (index: number) => (from === 0 && index === 0 ? "first" : "later");
      const bytes = predicted.reduce(
        (sum, id, index) => sum + (tokenizer.tokenBytes(id, placeOf(index))?.length ?? 0),
        0,
      );
      blocks.push({ ids: [...start, ...part], bytes });
    }
  }
  return blocks;
}

function documentsOf(content: string, file: string): readonly string[] {
  if (!file.endsWith(".jsonl")) return [content];
  return content
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line, index) => {
      const parsed = z.object({ text: z.string() }).safeParse(jsonOf(line));
      if (parsed.success) return parsed.data.text;
      throw new ToastError("invalid_option", `Line ${index + 1} of ${file} is no JSON object with a string 'text'.`);
    });
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

function tableOf(results: readonly Perplexity[]): readonly string[] {
  const width = Math.max(...results.map(({ model }) => model.length));
  return results.map(
    ({ model, quantization, tokens, perplexity, bitsPerByte }) =>
      `${model.padEnd(width)}  ${quantization}  perplexity ${perplexity.toFixed(3)}  ${bitsPerByte.toFixed(4)} bits per byte  (${tokens} tokens)`,
  );
}

function unreadable(file: string): (cause: Error) => never {
  return (cause) => {
    throw new ToastError("file_missing", `${file} cannot be read: ${cause.message}`, { cause });
  };
}
