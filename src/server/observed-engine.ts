import type { Engine, Generation, GenerationEvent } from "../engine/engine.js";
import type { GenerationRequest } from "../engine/messages.js";
import { ToastError } from "../errors.js";
import { currentRecord, type GenerationFacts, type RequestRecord } from "./edge/request-record.js";

/** Hears of each generation; the record is that of its HTTP request, null when it has none. */
export interface GenerationListener {
  /** The prompt is tokenized and in the queue. */
  accepted?(facts: GenerationFacts, record: RequestRecord | null): void;
  started?(facts: GenerationFacts, queueMs: number): void;
  firstToken?(facts: GenerationFacts, record: RequestRecord | null): void;
  /** @param gapMs since the tokens of this choice before; null for its first. */
  tokens?(facts: GenerationFacts, count: number, gapMs: number | null): void;
  /** However it ended. */
  ended?(facts: GenerationFacts, record: RequestRecord | null): void;
}

export interface ObserveOptions {
  readonly listeners: readonly GenerationListener[];
  /** In the queue; null: no limit. */
  readonly queueTimeoutMs: number | null;
  /** Whether the facts keep the text of answers. */
  readonly keepText: boolean;
}

/**
 * The same engine, with every generation told to the listeners, and ended with `server_overloaded` when it waits too long. Every
 * route is covered by it, since all reach engines through the registry. A request that was aborted for a reason ends with that reason.
 */
export function observeEngine(engine: Engine, options: ObserveOptions): Engine {
  // A proxy, not a class of the same methods: what the engine learns to do, the observed one can do too.
  return new Proxy(engine, {
    get(target, name) {
      if (name === "generate") {
        return (request: GenerationRequest, signal: AbortSignal) => generate(target, request, signal, options);
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function generate(
  engine: Engine,
  request: GenerationRequest,
  signal: AbortSignal,
  options: ObserveOptions,
): Promise<Generation> {
  const record = currentRecord();
  const facts = beginFacts(engine, request, options.keepText);
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  let timer: NodeJS.Timeout | undefined;
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  const end = () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  };
  try {
    const generation = await engine.generate(request, controller.signal);
    facts.promptTokens = generation.promptTokens;
    record?.generations.push(facts);
    tell((listener) => listener.accepted?.(facts, record));
    const { queueTimeoutMs } = options;
    if (queueTimeoutMs !== null) {
      timer = setTimeout(() => controller.abort(waitedTooLong(queueTimeoutMs)), queueTimeoutMs);
    }
    void generation.started.then((queueMs) => {
      clearTimeout(timer);
      facts.startedAt = facts.begunAt + queueMs;
      tell((listener) => listener.started?.(facts, queueMs));
    });
    return { ...generation, events: observed(generation.events) };
  } catch (error) {
    end();
    throw error;
  }

  async function* observed(events: AsyncIterable<GenerationEvent>): AsyncGenerator<GenerationEvent, void, undefined> {
    const lastAt = new Map<number, number>();
    let left: "abandoned" | "read" = "abandoned";
    try {
      for await (const event of events) {
        note(event, lastAt);
        yield event;
      }
      left = "read";
    } catch (error) {
      left = "read";
      throw error;
    } finally {
      end();
      // A reader that walks away does not stay to hear how it ends.
      while (left === "abandoned" && facts.reasons.length < request.choices) facts.reasons.push("cancelled");
      facts.completionTokens = Math.max(facts.completionTokens, facts.streamedTokens);
      facts.endedAt = performance.now();
      tell((listener) => listener.ended?.(facts, record));
    }
  }

  function note(event: GenerationEvent, lastAt: Map<number, number>): void {
    const now = performance.now();
    if (event.kind === "delta") {
      const before = lastAt.get(event.choice);
      lastAt.set(event.choice, now);
      facts.streamedTokens += event.tokens;
      if (facts.text !== null) facts.text += event.text;
      if (facts.firstTokenAt === null) {
        facts.firstTokenAt = now;
        tell((listener) => listener.firstToken?.(facts, record));
      }
      tell((listener) => listener.tokens?.(facts, event.tokens, before === undefined ? null : now - before));
    } else if (event.kind === "finished") {
      facts.reasons.push(event.reason);
      facts.completionTokens += event.usage.completionTokens;
      facts.cachedTokens = event.usage.cachedTokens;
      const { reason } = controller.signal;
      if (event.reason === "cancelled" && reason instanceof ToastError) throw reason;
    }
  }

  function tell(what: (listener: GenerationListener) => void): void {
    for (const listener of options.listeners) what(listener);
  }
}

function beginFacts({ phase }: Engine, request: GenerationRequest, keepText: boolean): GenerationFacts {
  const base = phase.kind === "ready" ? phase.model.id : "unknown";
  return {
    modelName: request.steering.kind === "plain" ? base : `${base}:${request.steering.adapter}`,
    request,
    begunAt: performance.now(),
    promptTokens: 0,
    cachedTokens: 0,
    completionTokens: 0,
    streamedTokens: 0,
    startedAt: null,
    firstTokenAt: null,
    endedAt: null,
    reasons: [],
    text: keepText ? "" : null,
  };
}

function waitedTooLong(milliseconds: number): ToastError {
  const message = `The request waited for ${milliseconds / 1000} seconds and its turn did not come. Try again in a moment.`;
  return new ToastError("server_overloaded", message);
}
