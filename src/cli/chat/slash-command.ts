import { ToastError } from "../../errors.js";
import { type Conversation, integerIn, numberIn } from "./conversation.js";

/** What a line that begins with a slash wants of whoever reads it, beside the conversation that it has changed. */
export type SlashOutcome =
  | { readonly kind: "print"; readonly lines: readonly string[] }
  | { readonly kind: "save"; readonly file: string }
  | { readonly kind: "ask"; readonly question: string }
  | { readonly kind: "leave" };

/** A control vector that a server has. */
export interface KnownVector {
  /** The base's id. */
  readonly model: string;
  readonly name: string;
  readonly description: string | null;
  readonly recommended: readonly [low: number, high: number] | null;
}

/** What a server has now. */
export interface Served {
  models(): Promise<readonly string[]>;
  vectors(): Promise<readonly KnownVector[]>;
}

interface SlashCommand {
  readonly words: string;
  readonly description: string;
  run(rest: string, conversation: Conversation, served: Served): Promise<SlashOutcome> | SlashOutcome;
}

export const slashCommands: Readonly<Record<string, SlashCommand>> = {
  adapter: {
    words: "[name | none]",
    description: "steer with another adapter, or not at all; alone: which there are",
    async run(rest, conversation, served) {
      const { base } = conversation;
      const known = (await served.models())
        .filter((id) => id.startsWith(`${base}:`))
        .map((id) => id.slice(base.length + 1));
      const listed = `Adapters of ${base}: ${known.join(", ") || "none"}.`;
      if (rest === "") return print(`${steeredBy(conversation)} ${listed}`);
      if (rest !== "none" && !known.includes(rest)) throw wrong(`There is no adapter '${rest}'. ${listed}`);
      conversation.change({ model: rest === "none" ? base : `${base}:${rest}` });
      return print(steeredBy(conversation));
    },
  },
  strength: {
    words: "<0 … 4>",
    description: "how strongly the adapter steers: 1 is what was trained, 0 is the base; alone: 1 again",
    run(rest, conversation) {
      const strength = rest === "" ? null : numberIn(rest, 0, 4, "The strength");
      if (conversation.adapter === null && strength !== null) throw wrong(`${steeredBy(conversation)} See /adapter.`);
      conversation.change({ strength });
      return print(`Strength ${strength ?? 1}.`);
    },
  },
  layers: {
    words: "<from> <to>",
    description: "steer these layers only, counted from 0; alone: all of them again",
    run(rest, conversation) {
      if (rest === "") {
        conversation.change({ layers: null });
        return print("All layers are steered.");
      }
      const [first = "", last = first] = rest.split(/\s+/);
      const from = integerIn(first, 0, 10_000, "The first layer");
      const to = integerIn(last, from, 10_000, "The last layer");
      conversation.change({ layers: [from, to] });
      return print(`Layers ${from} to ${to} are steered.`);
    },
  },
  vector: {
    words: "[name <-4 … 4> | none]",
    description: "add a control vector, several of them one by one; 0 takes it off; alone: which there are",
    async run(rest, conversation, served) {
      const { base } = conversation;
      const { vectors } = conversation.settings;
      if (rest === "none") {
        conversation.change({ vectors: [] });
        return print("No control vectors.");
      }
      const known = (await served.vectors()).filter(({ model }) => model === base);
      if (rest === "") return print(stackOf(conversation), ...known.map(vectorLine));
      const [, name = "", given = "1"] = /^(\S+)(?:\s+(\S+))?$/.exec(rest) ?? [];
      if (!known.some((vector) => vector.name === name)) {
        const names = known.map((vector) => vector.name).join(", ") || "none";
        throw wrong(`There is no control vector '${name === "" ? rest : name}'. Those of ${base}: ${names}.`);
      }
      const strength = numberIn(given, -4, 4, "The strength");
      const others = vectors.filter((vector) => vector.name !== name);
      conversation.change({ vectors: strength === 0 ? others : [...others, { name, strength }] });
      return print(stackOf(conversation));
    },
  },
  model: {
    words: "[id]",
    description: "talk to another model; alone: which there are",
    async run(rest, conversation, served) {
      const known = await served.models();
      if (rest === "") return print(...known.map((id) => (id === conversation.settings.model ? `* ${id}` : `  ${id}`)));
      if (!known.includes(rest)) throw wrong(`There is no model '${rest}'. There are: ${known.join(", ")}.`);
      const before = conversation.base;
      conversation.change({ model: rest });
      // Another base has other vectors.
      if (conversation.base !== before) conversation.change({ vectors: [] });
      return print(`Talking to ${rest}.`);
    },
  },
  system: {
    words: "[text]",
    description: "what the model is told before all; alone: nothing",
    run(rest, conversation) {
      conversation.change({ system: rest === "" ? null : rest });
      return print(rest === "" ? "No system message." : "System message set.");
    },
  },
  temperature: {
    words: "<0 … 2>",
    description: "0 always takes the likeliest token; alone: the server's choice",
    run(rest, conversation) {
      const temperature = rest === "" ? null : numberIn(rest, 0, 2, "The temperature");
      conversation.change({ temperature });
      return print(temperature === null ? "The server's temperature." : `Temperature ${temperature}.`);
    },
  },
  seed: {
    words: "<number>",
    description: "the same question gets the same answer; alone: another one each time",
    run(rest, conversation) {
      const seed = rest === "" ? null : integerIn(rest, 0, 2 ** 32 - 1, "The seed");
      conversation.change({ seed });
      return print(seed === null ? "A new seed each time." : `Seed ${seed}.`);
    },
  },
  retry: {
    words: "",
    description: "asks the last question again",
    run(_, conversation) {
      const question = conversation.takeBack();
      if (question === null) throw wrong("There is no question to ask again.");
      return { kind: "ask", question };
    },
  },
  reset: {
    words: "",
    description: "forgets what was said; settings stay",
    run(_, conversation) {
      conversation.reset();
      return print("Forgotten.");
    },
  },
  save: {
    words: "<file>",
    description: "writes the talk down: as JSON to a file that ends so, else as Markdown",
    run(rest) {
      if (rest === "") throw wrong("/save needs the name of a file.");
      return { kind: "save", file: rest };
    },
  },
  help: {
    words: "",
    description: "this list",
    run: () => print(...helpLines()),
  },
  quit: {
    words: "",
    description: "leaves, as Ctrl-D does",
    run: () => ({ kind: "leave" }),
  },
};

/**
 * Runs a line such as `/strength 0.5`.
 * @throws ToastError `invalid_option` with a sentence; the conversation is as it was.
 */
export async function runSlashCommand(line: string, conversation: Conversation, served: Served): Promise<SlashOutcome> {
  const [, name = "", rest = ""] = /^\/(\S*)\s*([\s\S]*)$/.exec(line.trim()) ?? [];
  const command = Object.hasOwn(slashCommands, name) ? slashCommands[name] : undefined;
  if (command === undefined) throw wrong(`There is no command /${name}. /help lists them.`);
  return command.run(rest.trim(), conversation, served);
}

function helpLines(): readonly string[] {
  const heads = Object.entries(slashCommands).map(([name, { words }]) => `/${name} ${words}`.trim());
  const width = Math.max(...heads.map((head) => head.length));
  return [
    ...Object.values(slashCommands).map(({ description }, at) => `${heads[at]?.padEnd(width)}  ${description}`),
    "",
    'A line that ends in \\ goes on in the next one; so does everything between two lines of """.',
    "Ctrl-C stops an answer; at the prompt, twice leaves.",
  ];
}

function steeredBy({ adapter, base }: Conversation): string {
  return adapter === null ? `${base} speaks, no adapter steers it.` : `Steered by ${adapter}.`;
}

function stackOf({ settings: { vectors } }: Conversation): string {
  if (vectors.length === 0) return "No control vectors.";
  return `Control vectors: ${vectors.map(({ name, strength }) => `${name} ${strength}`).join(", ")}.`;
}

function vectorLine({ name, description, recommended }: KnownVector): string {
  const range = recommended === null ? "" : ` (${recommended[0]} to ${recommended[1]})`;
  return `  ${name}${range}${description === null ? "" : `  ${description}`}`;
}

function print(...lines: readonly string[]): SlashOutcome {
  return { kind: "print", lines };
}

function wrong(message: string): ToastError {
  return new ToastError("invalid_option", message);
}
