import { Command, InvalidArgumentError } from "commander";
import { ToastError } from "../errors.js";
import { ChatServer } from "./chat/chat-server.js";
import { ChatSession } from "./chat/chat-session.js";
import { Conversation, integerIn, numberIn } from "./chat/conversation.js";
import { openServer } from "./open-server.js";
import { positiveInteger } from "./positive-integer.js";
import { stopSignalOfProcess } from "./stop-signal.js";
import type { Terminal } from "./terminal.js";

interface ChatFlags {
  readonly url?: string;
  readonly apiKey?: string;
  readonly modelId?: string;
  readonly adapter?: string;
  readonly strength?: number;
  readonly system?: string;
  readonly temperature?: number;
  readonly seed?: number;
  readonly maxTokens?: number;
  readonly prompt?: string;
  readonly threads?: string;
}

/** @param stop leaves; default: SIGINT and SIGTERM. */
export function chatCommand(terminal: Terminal, stop?: AbortSignal): Command {
  return new Command("chat")
    .description("talk to a model in the terminal")
    .argument("[model-folder]", "a converted model folder, or org/name of a hub (default: the models of this package)")
    .option("--url <address>", "talk to a server instead, this one or any that speaks OpenAI's interface")
    .option("--api-key <key>", "of that server (default: OPENAI_API_KEY)")
    .option("--model-id <id>", "the model to begin with (default: the first that is steered, else the first)")
    .option("--adapter <name>", "the adapter that steers it; none: the base itself")
    .option("--strength <number>", "how strongly it steers, 0 to 4; 1 is what was trained", checked(numberIn, 0, 4))
    .option("--system <text>", "what the model is told before all")
    .option("--temperature <number>", "0 to 2; 0 always takes the likeliest token", checked(numberIn, 0, 2))
    .option("--seed <number>", "the same questions get the same answers", checked(integerIn, 0, 2 ** 32 - 1))
    .option("--max-tokens <number>", "tokens of an answer at most", positiveInteger)
    .option("--prompt <text>", "ask this, print the answer, and leave")
    .option("--threads <number>", "threads of one forward, without --url")
    .addHelpText("after", examples)
    .action((folder: string | undefined, flags: ChatFlags) =>
      chat(folder, flags, terminal, stop ?? stopSignalOfProcess()),
    );
}

const examples = `
At the prompt, /help lists what can be changed while you talk: /adapter, /strength, /vector, /system, /model, /seed, /save …

Examples:
  $ toast-serve chat
      talks to the model that comes with this package
  $ toast-serve chat ./my-model --adapter poet --strength 0.5
      half as strongly steered as it was trained
  $ toast-serve chat --url http://127.0.0.1:8000 --model-id mine:alpaca
      talks to a server
  $ echo 'Give three tips for staying healthy.' | toast-serve chat > tips.txt
      a question from a pipe: the answer is all that is printed
  $ toast-serve chat --prompt 'Name three colours.' --temperature 0`;

/** Commander's shape of a check. */
function checked(
  check: (text: string, from: number, to: number, what: string) => number,
  from: number,
  to: number,
): (text: string) => number {
  return (text) => {
    try {
      return check(text, from, to, "It");
    } catch (error) {
      if (error instanceof ToastError) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };
}

async function chat(
  folder: string | undefined,
  flags: ChatFlags,
  terminal: Terminal,
  stop: AbortSignal,
): Promise<void> {
  const question = await questionOf(flags, terminal);
  // Whoever pipes wants to read the answer, not how loading goes.
  const quiet = { ...terminal, err: () => {} };
  const isWatched = question === null || terminal.interactive;
  const { client, close } = await openServer(folder, flags, isWatched ? terminal : quiet, stop);
  const server = new ChatServer(client);
  try {
    const model = modelOf(await server.models(), flags);
    const conversation = new Conversation({
      model,
      system: flags.system ?? null,
      strength: flags.strength ?? null,
      layers: null,
      vectors: [],
      temperature: flags.temperature ?? null,
      seed: flags.seed ?? null,
      maxTokens: flags.maxTokens ?? null,
    });
    if (question !== null) {
      await answerOnce(server, conversation.requestFor(question), terminal, stop);
      return;
    }
    const { screen } = terminal;
    if (screen === undefined) throw new Error("a terminal without a screen has a question");
    terminal.out(`Talking to ${model}. /help says what you can do; Ctrl-D leaves.`);
    await new ChatSession(server, conversation, screen).run(stop);
  } finally {
    await close();
  }
}

/** What is to be asked without a talk: `--prompt`, or all that comes through a pipe. Null: a person is there. */
async function questionOf({ prompt }: ChatFlags, { screen }: Terminal): Promise<string | null> {
  if (prompt !== undefined) return prompt;
  if (screen === undefined) throw nothingToAsk();
  if (screen.isPerson) return null;
  const chunks: Buffer[] = [];
  for await (const chunk of screen.input) chunks.push(Buffer.from(chunk));
  const question = Buffer.concat(chunks).toString("utf8").trim();
  if (question === "") throw nothingToAsk();
  return question;
}

function nothingToAsk(): ToastError {
  return new ToastError(
    "invalid_option",
    "There is nothing to ask: type at a terminal, pipe a question in, or give --prompt.",
  );
}

/** @throws AbortError when it is told to stop; ToastError of the server. */
async function answerOnce(server: ChatServer, request: object, terminal: Terminal, stop: AbortSignal): Promise<void> {
  let isLineOpen = false;
  const write = (text: string) => terminal.write?.(text);
  try {
    for await (const text of server.answer(request, stop)) {
      write(text);
      isLineOpen = !text.endsWith("\n");
    }
  } finally {
    if (isLineOpen) write("\n");
  }
}

/** @throws ToastError `invalid_option` for a model or adapter that is not there */
function modelOf(ids: readonly string[], { modelId, adapter }: ChatFlags): string {
  const begin = modelId ?? ids.find((id) => id.includes(":")) ?? ids[0];
  if (begin === undefined) throw new ToastError("server_refused", "The server serves no model.");
  const base = begin.split(":", 1)[0] ?? "";
  const wanted = adapter === undefined ? begin : adapter === "none" ? base : `${base}:${adapter}`;
  if (ids.includes(wanted)) return wanted;
  throw new ToastError("invalid_option", `There is no model '${wanted}'. There are: ${ids.join(", ")}.`);
}
