import type { FinishReason, Generation, GenerationEvent, Usage } from "../engine/engine.js";
import type { TokenReport } from "../engine/token-report.js";
import { ToastError } from "../errors.js";
import { EventQueue } from "../event-queue.js";

/** What the engine says of a request with one prompt or several. Choices are counted through: prompt × n + choice. */
export type StreamEvent = GenerationEvent & {
  /** Which of the request's prompts the event belongs to, from 0. */
  readonly prompt: number;
};

/** The reasons that an answer can end with on the wire: a cancelled one has no reader. */
export type ResponseFinishReason = Exclude<FinishReason, "cancelled">;

/**
 * The events of a request's generations as they come, none held up by another. Ending it early does not end the
 * generations: that is for their signal to do.
 * @param choices of each generation.
 */
export function mergeGenerations(
  generations: readonly Generation[],
  choices: number,
): AsyncIterableIterator<StreamEvent, undefined> {
  const sources = generations.map(({ events }, prompt) => numbered(events, prompt, choices));
  const [only, ...others] = sources;
  if (only !== undefined && others.length === 0) return only;
  const leaveAll = (): void => {
    // Not awaited: a source that waits for its own next event ends behind it, when its signal makes it.
    for (const source of sources) source.return(undefined).catch(() => {});
  };
  const merged = new EventQueue<StreamEvent>(leaveAll);
  const read = async (source: AsyncIterable<StreamEvent>): Promise<void> => {
    for await (const event of source) merged.push(event);
  };
  Promise.all(sources.map(read)).then(
    () => merged.close(),
    (error: unknown) => {
      merged.fail(error);
      leaveAll();
    },
  );
  return merged;
}

async function* numbered(
  events: AsyncIterable<GenerationEvent>,
  prompt: number,
  choices: number,
): AsyncGenerator<StreamEvent, undefined, undefined> {
  for await (const event of events) {
    yield event.kind === "prompt"
      ? { ...event, prompt }
      : { ...event, prompt, choice: prompt * choices + event.choice };
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
  /** Of all sampled tokens, when asked for. */
  readonly tokenIds: readonly number[];
  readonly reason: ResponseFinishReason;
}

/** All that a request's events say, put together. */
export interface CollectedOutput {
  /** In the order of their indices. */
  readonly choices: readonly CollectedChoice[];
  /** Of each prompt's tokens, when asked for. */
  readonly prompts: readonly (readonly TokenReport[])[];
  /** Likewise their ids. */
  readonly promptIds: readonly (readonly number[])[];
  readonly usage: Usage;
}

/**
 * @param counts prompts of the request, and choices of all of them together.
 * @throws ToastError when an answer does not come to its end.
 */
export async function collectOutput(
  events: AsyncIterable<StreamEvent>,
  counts: { readonly prompts: number; readonly choices: number },
): Promise<CollectedOutput> {
  const texts = new Array<string>(counts.choices).fill("");
  const reports = Array.from({ length: counts.choices }, (): TokenReport[] => []);
  const tokenIds = Array.from({ length: counts.choices }, (): number[] => []);
  const prompts = new Array<readonly TokenReport[]>(counts.prompts).fill([]);
  const promptIds = new Array<readonly number[]>(counts.prompts).fill([]);
  const choices: CollectedChoice[] = [];
  const usage = new UsageSum();
  for await (const event of events) {
    switch (event.kind) {
      case "prompt":
        prompts[event.prompt] = event.reports;
        promptIds[event.prompt] = event.tokenIds ?? [];
        break;
      case "delta":
        texts[event.choice] += event.text;
        reports[event.choice]?.push(...event.reports);
        tokenIds[event.choice]?.push(...(event.tokenIds ?? []));
        break;
      case "finished": {
        const { choice } = event;
        choices[choice] = {
          text: texts[choice] ?? "",
          reports: reports[choice] ?? [],
          tokenIds: tokenIds[choice] ?? [],
          reason: finishReasonOf(event.reason),
        };
        usage.add(event.prompt, event.usage);
      }
    }
  }
  // A choice that is missing leaves a hole, which `filter` passes over.
  if (choices.filter(Boolean).length < counts.choices) throw endedEarly();
  return { choices, prompts, promptIds, usage: usage.total };
}

/**
 * @throws ToastError `server_draining`: cancelled while the client still listens, which only a server on its way down
 * does.
 */
export function finishReasonOf(reason: FinishReason): ResponseFinishReason {
  if (reason !== "cancelled") return reason;
  throw new ToastError("server_draining", "The server is shutting down and ended this answer. Send the request again.");
}

/** The engine promises a `finished` at the end of every generation. */
export function endedEarly(): ToastError {
  return new ToastError("engine_failed", "The engine stopped in the middle of this answer.");
}
