import { readFile, writeFile } from "node:fs/promises";
import { Command, InvalidArgumentError } from "commander";
import { ToastError } from "../errors.js";
import { readVectorFile, type VectorFile } from "../vectors/vector-file.js";
import { openServer, type ServerFlags } from "./open-server.js";
import { positiveInteger } from "./positive-integer.js";
import { progressLine } from "./progress-line.js";
import { stopSignalOfProcess } from "./stop-signal.js";
import type { Terminal } from "./terminal.js";
import { type MadeVector, VectorServer, type WireVector } from "./vector/vector-server.js";

interface MakeFlags extends ServerFlags {
  readonly modelId?: string;
  readonly name: string;
  readonly positive?: string;
  readonly negative?: string;
  readonly positiveFile?: string;
  readonly negativeFile?: string;
  readonly method?: string;
  readonly layers?: readonly [number, number];
  readonly description?: string;
  readonly sweep: boolean;
  readonly out?: string;
}

interface InspectFlags extends ServerFlags {
  readonly modelId?: string;
}

interface SweepFlags extends ServerFlags {
  readonly modelId?: string;
  readonly prompt?: string;
  readonly strengths?: readonly number[];
  readonly maxTokens: number;
  readonly temperature?: number;
}

/** @param stop ends what runs; default: SIGINT and SIGTERM. */
export function vectorCommand(terminal: Terminal, stop?: AbortSignal): Command {
  const signal = () => stop ?? stopSignalOfProcess();
  return new Command("vector")
    .description("make control vectors, look at them, and try their strengths")
    .addHelpText("after", examples)
    .addCommand(makeCommand(terminal, signal))
    .addCommand(inspectCommand(terminal, signal))
    .addCommand(sweepCommand(terminal, signal));
}

const examples = `
A control vector is a direction in what the layers of a model hand on. Adding it steers the text one way, subtracting it the other;
docs/vectors.md says how to make a good one.

Examples:
  $ toast-serve vector make --name pirate --positive 'a pirate' --negative 'an ordinary person'
      makes one for the model of this package; its servers and 'chat' have it from now on
  $ toast-serve vector make --url http://127.0.0.1:8000 --name terse --positive-file short.txt --negative-file long.txt
      of example texts, one a line, in a server that runs
  $ toast-serve vector inspect pirate
  $ toast-serve vector inspect downloaded.gguf
      what a file of llama.cpp, repeng or this server says
  $ toast-serve vector sweep happy --prompt 'What do you think about Monday mornings?'
      the same question at several strengths, below each other`;

function withServer(command: Command): Command {
  return command
    .argument("[model-folder]", "a converted model folder, or org/name of a hub (default: the models of this package)")
    .option("--url <address>", "a server that runs, instead")
    .option("--api-key <key>", "of that server (default: OPENAI_API_KEY)")
    .option("--model-id <id>", "the base's id, where there are several")
    .option("--threads <number>", "threads of one forward, without --url");
}

function makeCommand(terminal: Terminal, signal: () => AbortSignal): Command {
  return withServer(new Command("make").description("make a control vector of two sides"))
    .requiredOption("--name <name>", "what requests will call it")
    .option("--positive <persona>", "who the model becomes, as in 'Act as if you are …': 'a pirate'")
    .option("--negative <persona>", "who it is not: 'an ordinary person'")
    .option("--positive-file <file>", "example texts instead, one a line")
    .option("--negative-file <file>", "those of the other side")
    .option("--method <method>", "mean: difference of the means (default); pca: first principal component")
    .option("--layers <from,to>", "layers to steer, such as 8,21 (default: by the model's depth)", layerPair)
    .option("--description <text>", "what people read of it")
    .option("--no-sweep", "do not try strengths: faster, without a recommended range")
    .option("--out <file>", "also write the .gguf file here")
    .action((folder: string | undefined, flags: MakeFlags) => make(folder, flags, terminal, signal()));
}

function inspectCommand(terminal: Terminal, signal: () => AbortSignal): Command {
  return withServer(
    new Command("inspect")
      .description("say what a control vector is; without a name, which there are")
      .argument("[vector]", "a .gguf file, or the name of one that is served"),
  ).action((vector: string | undefined, folder: string | undefined, flags: InspectFlags) =>
    inspect(vector, folder, flags, terminal, signal()),
  );
}

function sweepCommand(terminal: Terminal, signal: () => AbortSignal): Command {
  return withServer(
    new Command("sweep")
      .description("one prompt at several strengths")
      .argument("<vector>", "the name of one that is served"),
  )
    .option("--prompt <text>", "what to ask (default: its example prompt)")
    .option("--strengths <list>", "such as -1,0,0.5,1 (default: -1.5 to 1.5)", strengthList)
    .option("--max-tokens <number>", "tokens of an answer at most", positiveInteger, 40)
    .option("--temperature <number>", "0 to 2 (default: 0, so that strength is all that differs)", Number)
    .action((vector: string, folder: string | undefined, flags: SweepFlags) =>
      sweep(vector, folder, flags, terminal, signal()),
    );
}

async function make(
  folder: string | undefined,
  flags: MakeFlags,
  terminal: Terminal,
  stop: AbortSignal,
): Promise<void> {
  const recipe = {
    name: flags.name,
    ...(flags.modelId === undefined ? {} : { model: flags.modelId }),
    positive: await sideOf(flags.positive, flags.positiveFile, "positive"),
    negative: await sideOf(flags.negative, flags.negativeFile, "negative"),
    ...(flags.method === undefined ? {} : { method: flags.method }),
    ...(flags.layers === undefined ? {} : { layers: flags.layers }),
    ...(flags.description === undefined ? {} : { description: flags.description }),
    sweep: flags.sweep,
  };
  const { client, close } = await openServer(folder, flags, terminal, stop);
  const progress = progressLine(terminal, "Making");
  try {
    const server = new VectorServer(client);
    const made = await server.make(recipe, stop, (stage, fraction) => progress.update(stage, fraction));
    progress.end();
    for (const line of [...linesOf(made), ...sweepLines(made)]) terminal.out(line);
    if (flags.out !== undefined) {
      await writeFile(flags.out, await server.download(made));
      terminal.out(`Written to ${flags.out}.`);
    }
  } finally {
    progress.end();
    await close();
  }
}

/** @throws ToastError `invalid_option`, `file_missing` */
async function sideOf(persona: string | undefined, file: string | undefined, side: string): Promise<string | string[]> {
  if ((persona === undefined) === (file === undefined)) {
    throw new ToastError(
      "invalid_option",
      `Give --${side} with a description, or --${side}-file with one example a line.`,
    );
  }
  if (file === undefined) return persona ?? "";
  const content = await readFile(file, "utf8").catch((cause: Error) => {
    throw new ToastError("file_missing", `${file} cannot be read: ${cause.message}`, { cause });
  });
  return content.split("\n").filter((line) => line.trim() !== "");
}

async function inspect(
  vector: string | undefined,
  folder: string | undefined,
  flags: InspectFlags,
  terminal: Terminal,
  stop: AbortSignal,
): Promise<void> {
  if (vector?.endsWith(".gguf") === true) {
    for (const line of fileLines(vector, await readVectorFile(vector))) terminal.out(line);
    return;
  }
  const { client, close } = await openServer(folder, flags, terminal, stop);
  try {
    const server = new VectorServer(client);
    const lines =
      vector === undefined ? listLines(await server.list()) : linesOf(await server.find(vector, flags.modelId ?? null));
    for (const line of lines) terminal.out(line);
  } finally {
    await close();
  }
}

const usualStrengths = [-1.5, -1, -0.5, 0, 0.5, 1, 1.5];

async function sweep(
  name: string,
  folder: string | undefined,
  flags: SweepFlags,
  terminal: Terminal,
  stop: AbortSignal,
): Promise<void> {
  const { client, close } = await openServer(folder, flags, terminal, stop);
  try {
    const server = new VectorServer(client);
    const vector = await server.find(name, flags.modelId ?? null);
    const prompt = flags.prompt ?? vector.example_prompt ?? "What do you think about Monday mornings?";
    terminal.out(`${vector.id}: ${prompt}`);
    for (const strength of flags.strengths ?? usualStrengths) {
      const text = await server.answer(
        {
          model: vector.model,
          messages: [{ role: "user", content: prompt }],
          temperature: flags.temperature ?? 0,
          max_tokens: flags.maxTokens,
          seed: 1,
          steering: { vectors: [{ name, strength }] },
        },
        stop,
      );
      terminal.out(`${markOf(strength, vector)} ${text.replace(/\s+/g, " ").trim()}`);
    }
    if (vector.recommended !== null) terminal.out("! beyond the recommended range");
  } finally {
    await close();
  }
}

/** ` +0.5 ` or `!+3 `. */
function markOf(strength: number, { recommended }: Pick<WireVector, "recommended">): string {
  const isBeyond = recommended !== null && (strength < recommended[0] || strength > recommended[1]);
  const signed = strength > 0 ? `+${strength}` : String(strength);
  return `${isBeyond ? "!" : " "}${signed.padStart(5)} `;
}

function linesOf(vector: WireVector): readonly string[] {
  const { id, description, layers, recommended, method, origin, fingerprint } = vector;
  return [
    `${id}  ${description ?? ""}`.trimEnd(),
    `  layers ${layers[0]} to ${layers[1]}, recommended strengths ${rangeOf(recommended)}`,
    `  made by ${method ?? "others"}, from ${origin.replace("_", " ")}, fingerprint ${fingerprint}`,
    ...measureLines(vector.norm_share, vector.separation),
    ...layerLines(layers[0], vector.layer_norm_shares, vector.layer_separations),
  ];
}

function fileLines(path: string, { directions, details }: VectorFile): readonly string[] {
  const layers = [...directions.keys()];
  const width = directions.values().next().value?.length ?? 0;
  return [
    `${path}  ${details.description ?? ""}`.trimEnd(),
    `  ${layers.length} directions of ${width} numbers, for layers ${layers.at(0)} to ${layers.at(-1)}, recommended strengths ${rangeOf(details.recommended)}`,
    `  made by ${details.method ?? "others"}, for ${details.backboneSha256 === null ? `models of '${details.modelHint ?? "unknown"}'` : `backbone ${details.backboneSha256.slice(0, 12)}`}`,
    ...measureLines(details.normShare, details.separation),
    ...layerLines(layers.at(0) ?? 0, details.layerNormShares, details.layerSeparations),
  ];
}

function measureLines(normShare: number | null, separation: number | null): readonly string[] {
  if (normShare === null || separation === null) return [];
  const percent = (normShare * 100).toFixed(1);
  return [
    `  strength 1 adds ${percent} % of a layer's length; tells held-out examples apart at ${separation.toFixed(2)} (0.5 is chance)`,
  ];
}

function layerLines(
  from: number,
  shares: readonly number[] | null,
  separations: readonly number[] | null,
): readonly string[] {
  if (shares === null || separations === null || shares.length === 0) return [];
  return [
    "  layer  share  apart",
    ...shares.map((share, index) => {
      const apart = separations[index] ?? 0.5;
      const bar = "#".repeat(Math.round(Math.max(0, apart - 0.5) * 40));
      return `  ${String(from + index).padStart(5)}  ${(share * 100).toFixed(1).padStart(4)}%  ${apart.toFixed(2)} ${bar}`;
    }),
  ];
}

function sweepLines({ sweep: steps }: MadeVector): readonly string[] {
  if (steps == null) return [];
  return [
    "  strength  perplexity  repetition",
    ...steps.map(({ strength, perplexity, repetition, coherent }) => {
      const figures = `${perplexity.toFixed(2).padStart(10)}  ${repetition.toFixed(2).padStart(10)}`;
      return `  ${String(strength).padStart(8)}  ${figures}${coherent ? "" : "  comes apart"}`;
    }),
  ];
}

function listLines(vectors: readonly WireVector[]): readonly string[] {
  if (vectors.length === 0)
    return ["There are no control vectors. 'toast-serve vector make --help' says how to make one."];
  const width = Math.max(...vectors.map(({ id }) => id.length));
  return vectors.map(({ id, recommended, description }) =>
    `${id.padEnd(width)}  ${rangeOf(recommended).padEnd(12)}  ${description ?? ""}`.trimEnd(),
  );
}

function rangeOf(recommended: WireVector["recommended"] | VectorFile["details"]["recommended"]): string {
  return recommended === null ? "not measured" : `${recommended[0]} to ${recommended[1]}`;
}

function layerPair(text: string): readonly [number, number] {
  const [, from, to] = /^(\d{1,5})[,:-](\d{1,5})$/.exec(text) ?? [];
  if (from !== undefined && to !== undefined && Number(from) <= Number(to)) return [Number(from), Number(to)];
  throw new InvalidArgumentError("It must be two layer numbers, the lower first: 8,21.");
}

function strengthList(text: string): readonly number[] {
  const values = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (values.every((value) => value >= -4 && value <= 4)) return values;
  throw new InvalidArgumentError("It must be strengths from -4 to 4 with commas between them.");
}
