import { ToastError } from "../../errors.js";

export interface ChatTurn {
  readonly role: "user" | "assistant";
  readonly content: string;
}

/** What a person may change between two questions; null: the server's choice. */
export interface ChatSettings {
  /** A served id: `base`, or `base:adapter`. */
  readonly model: string;
  readonly system: string | null;
  readonly strength: number | null;
  readonly layers: readonly [from: number, to: number] | null;
  /** Control vectors that are added, each with its strength. */
  readonly vectors: readonly { readonly name: string; readonly strength: number }[];
  readonly temperature: number | null;
  readonly seed: number | null;
  readonly maxTokens: number | null;
}

/** A talk with a model, as data. Knows no terminal and no network. */
export class Conversation {
  #turns: ChatTurn[] = [];
  settings: ChatSettings;

  constructor(settings: ChatSettings) {
    this.settings = settings;
  }

  get turns(): readonly ChatTurn[] {
    return this.#turns;
  }

  /** The model id without its adapter. */
  get base(): string {
    return this.settings.model.split(":", 1)[0] ?? "";
  }

  /** Null: the base speaks. */
  get adapter(): string | null {
    const { model } = this.settings;
    return model.includes(":") ? model.slice(this.base.length + 1) : null;
  }

  change(settings: Partial<ChatSettings>): void {
    this.settings = { ...this.settings, ...settings };
  }

  reset(): void {
    this.#turns = [];
  }

  /** A question and what was answered; of an answer that was stopped, what there was of it. */
  add(question: string, answer: string): void {
    this.#turns.push({ role: "user", content: question }, { role: "assistant", content: answer });
  }

  /** The last question, taken back to be asked again; null when there is none. */
  takeBack(): string | null {
    const question = this.#turns.at(-2)?.content ?? null;
    this.#turns = this.#turns.slice(0, -2);
    return question;
  }

  /** The body of a chat completion. `steering` is in it only when it was asked for: other servers do not know it. */
  requestFor(question: string): object {
    const { model, system, strength, layers, vectors, temperature, seed, maxTokens } = this.settings;
    const steering = {
      ...(strength === null ? {} : { strength }),
      ...(layers === null ? {} : { layers }),
      ...(vectors.length === 0 ? {} : { vectors }),
    };
    return {
      model,
      messages: [
        ...(system === null ? [] : [{ role: "system", content: system }]),
        ...this.#turns,
        { role: "user", content: question },
      ],
      stream: true,
      ...(temperature === null ? {} : { temperature }),
      ...(seed === null ? {} : { seed }),
      // Not max_completion_tokens, which many servers do not know yet.
      ...(maxTokens === null ? {} : { max_tokens: maxTokens }),
      ...(Object.keys(steering).length === 0 ? {} : { steering }),
    };
  }

  /** For a file: JSON with everything in it, or Markdown to be read. */
  transcript(format: "json" | "markdown"): string {
    const { system, ...settings } = this.settings;
    const messages = [...(system === null ? [] : [{ role: "system", content: system }]), ...this.#turns];
    if (format === "json") return `${JSON.stringify({ ...settings, messages }, null, 2)}\n`;
    const parts = messages.map(({ role, content }) => `**${role}**\n\n${content}\n`);
    return [`# A talk with ${settings.model}\n`, ...parts].join("\n");
  }
}

/** @throws ToastError `invalid_option` */
export function numberIn(text: string, from: number, to: number, what: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (value >= from && value <= to) return value;
  throw new ToastError("invalid_option", `${what} must be a number from ${from} to ${to}; got '${text}'.`);
}

/** @throws ToastError `invalid_option` */
export function integerIn(text: string, from: number, to: number, what: string): number {
  const value = numberIn(text, from, to, what);
  if (Number.isInteger(value)) return value;
  throw new ToastError("invalid_option", `${what} must be a whole number; got '${text}'.`);
}
