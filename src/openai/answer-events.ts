import type { Generation, GenerationEvent } from "../engine/engine.js";
import type { FinishReason, TokenReport, Usage } from "../engine/messages.js";
import { ToastError } from "../errors.js";

/** What the engine says of a request with one prompt or several. Choices are counted through: prompt × n + choice. */
export type AnswerEvent = GenerationEvent & {
  /** Which of the request's prompts the event belongs to, from 0. */
  readonly prompt: number;
};

/** The reasons that an answer can end with on the wire: a cancelled one has no reader. */
export type AnsweredReason = Exclude<FinishReason, "cancelled">;

/**
 * The events of several generations as they come, none held up by another. One event of each is fetched ahead at most.
 * Ending it early does not end the generations: that is for their signal to do.
 * @param choices of each generation.
 */
export async function* mergeGenerations(
  generations: readonly Generation[],
  choices: number,
): AsyncGenerator<AnswerEvent, void, undefined> {
  type Arrival =
    | { readonly prompt: number; readonly result: IteratorResult<GenerationEvent> }
    | { readonly error: unknown };
  const sources = generations.map(({ events }) => events[Symbol.asyncIterator]());
  const arrived: Arrival[] = [];
  let wake = (): void => {};
  const arrive = (arrival: Arrival): void => {
    arrived.push(arrival);
    wake();
  };
  const fetch = (prompt: number): void => {
    sources[prompt]?.next().then(
      (result) => arrive({ prompt, result }),
      (error: unknown) => arrive({ error }),
    );
  };
  for (const prompt of sources.keys()) fetch(prompt);
  try {
    for (let open = sources.length; open > 0; ) {
      const next = arrived.shift();
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      if ("error" in next) throw next.error;
      if (next.result.done === true) {
        open--;
        continue;
      }
      const event = next.result.value;
      yield event.kind === "prompt"
        ? { ...event, prompt: next.prompt }
        : { ...event, prompt: next.prompt, choice: next.prompt * choices + event.choice };
      fetch(next.prompt);
    }
  } finally {
    // Not awaited: a source that waits for its own next event ends behind it, when its signal makes it.
    for (const source of sources) source.return?.().catch(() => {});
  }
}

/** Tokens of a whole request: each prompt once, whatever number of choices shares it. */
export class UsageSum {
  readonly #prompts = new Map<number, Usage>();
  #completionTokens = 0;

  add(prompt: number, usage: Usage): void {
    if (!this.#prompts.has(prompt)) this.#prompts.set(prompt, usage);
    this.#completionTokens += usage.completionTokens;
  }

  get total(): Usage {
    const prompts = [...this.#prompts.values()];
    return {
      promptTokens: prompts.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
      cachedTokens: prompts.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0),
      completionTokens: this.#completionTokens,
    };
  }
}

/** One choice of an unstreamed answer. */
export interface CollectedChoice {
  readonly text: string;
  readonly reports: readonly TokenReport[];
  readonly reason: AnsweredReason;
}

/** All that a request's events say, put together. */
export interface CollectedAnswer {
  /** In the order of their indices. */
  readonly choices: readonly CollectedChoice[];
  /** Of each prompt's tokens, when asked for. */
  readonly prompts: readonly (readonly TokenReport[])[];
  readonly usage: Usage;
}

/**
 * @param counts prompts of the request, and choices of all of them together.
 * @throws ToastError when an answer does not come to its end.
 */
export async function collectAnswer(
  events: AsyncIterable<AnswerEvent>,
  counts: { readonly prompts: number; readonly choices: number },
): Promise<CollectedAnswer> {
  const texts = new Array<string>(counts.choices).fill("");
  const reports = Array.from({ length: counts.choices }, (): TokenReport[] => []);
  const prompts = new Array<readonly TokenReport[]>(counts.prompts).fill([]);
  const choices: CollectedChoice[] = [];
  const usage = new UsageSum();
  for await (const event of events) {
    switch (event.kind) {
      case "prompt":
        prompts[event.prompt] = event.reports;
        break;
      case "delta":
        texts[event.choice] += event.text;
        reports[event.choice]?.push(...event.reports);
        break;
      case "finished": {
        const { choice } = event;
        choices[choice] = { text: texts[choice] ?? "", reports: reports[choice] ?? [], reason: answered(event.reason) };
        usage.add(event.prompt, event.usage);
      }
    }
  }
  // A choice that is missing leaves a hole, which `filter` passes over.
  if (choices.filter(Boolean).length < counts.choices) throw endedEarly();
  return { choices, prompts, usage: usage.total };
}

/** @throws ToastError `server_draining`: cancelled while the client still listens, which only a server on its way down does. */
export function answered(reason: FinishReason): AnsweredReason {
  if (reason !== "cancelled") return reason;
  throw new ToastError("server_draining", "The server is shutting down and ended this answer. Send the request again.");
}

/** The engine promises a `finished` at the end of every generation. */
export function endedEarly(): ToastError {
  return new ToastError("engine_failed", "The engine stopped in the middle of this answer.");
}
