import type { Generate, GenerationEvent } from "../../engine/engine.js";
import type { GenerationRequest } from "../../engine/generation-request.js";
import { currentRecord, type GenerationFacts, type RequestRecord } from "./request-record.js";

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
  /** Whether the facts keep the text of answers. */
  readonly keepText: boolean;
}

/**
 * Reports every generation to the listeners. Every route is covered by it, since all generate through the registry.
 * @param base id of the model that generates.
 */
export function observed(generate: Generate, base: string, { listeners, keepText }: ObserveOptions): Generate {
  const report = (what: (listener: GenerationListener) => void): void => {
    for (const listener of listeners) what(listener);
  };
  return async (request, signal) => {
    const record = currentRecord();
    const facts = beginFacts(base, request, keepText);
    const generation = await generate(request, signal);
    facts.promptTokens = generation.promptTokens;
    record?.generations.push(facts);
    report((listener) => listener.accepted?.(facts, record));
    void generation.started.then((queueMs) => {
      facts.startedAt = facts.begunAt + queueMs;
      report((listener) => listener.started?.(facts, queueMs));
    });
    return { ...generation, events: read(generation.events) };

    async function* read(events: AsyncIterable<GenerationEvent>): AsyncGenerator<GenerationEvent, void, undefined> {
      const lastAt = new Map<number, number>();
      let left: "abandoned" | "read" | "failed" = "abandoned";
      try {
        for await (const event of events) {
          note(event, lastAt);
          yield event;
        }
        left = "read";
      } catch (error) {
        left = "failed";
        throw error;
      } finally {
        // A reader that walks away does not stay to hear how it ends, and one that was stopped for a reason hears the
        // reason.
        const isCancelled = left === "abandoned" || (left === "failed" && signal.aborted);
        while (isCancelled && facts.reasons.length < request.choices) facts.reasons.push("cancelled");
        facts.completionTokens = Math.max(facts.completionTokens, facts.streamedTokens);
        facts.endedAt = performance.now();
        report((listener) => listener.ended?.(facts, record));
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
          report((listener) => listener.firstToken?.(facts, record));
        }
        report((listener) => listener.tokens?.(facts, event.tokens, before === undefined ? null : now - before));
      } else if (event.kind === "finished") {
        facts.reasons.push(event.reason);
        facts.completionTokens += event.usage.completionTokens;
        facts.cachedTokens = event.usage.cachedTokens;
      }
    }
  };
}

function beginFacts(base: string, request: GenerationRequest, keepText: boolean): GenerationFacts {
  return {
    modelName: request.steering.kind !== "steered" ? base : `${base}:${request.steering.adapter}`,
    baseId: base,
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
