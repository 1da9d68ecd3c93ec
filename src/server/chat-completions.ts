import type { Context } from "hono";
import type { GenerationEvent } from "../engine/engine.js";
import type { Usage } from "../engine/messages.js";
import { answerHead, type Choice, chatCompletion } from "../openai/chat-completion.js";
import { parseChatCompletionRequest } from "../openai/chat-completion-request.js";
import { cancelledByServer, chatCompletionFrames, endedEarly } from "../openai/chat-completion-stream.js";
import { toGenerationRequest } from "../openai/generation-request.js";
import { eventStreamResponse } from "./event-stream-response.js";
import { readJsonBody } from "./read-json-body.js";
import type { ServerDeps } from "./server-deps.js";
import { within } from "./within.js";

/**
 * POST /v1/chat/completions. Everything that can be refused is refused before a header is sent: the request is parsed,
 * the model found, the prompt admitted by the engine, and the first event awaited. Only a request that waits longer than
 * the keep-alive interval gets its headers earlier, to have comments sent while it queues.
 */
export async function handleChatCompletions(context: Context, deps: ServerDeps): Promise<Response> {
  const running = deps.running.begin(context.req.raw.signal);
  try {
    const request = parseChatCompletionRequest(await readJsonBody(context.req.raw, deps.limits.maxBodyBytes));
    const { model, engine } = deps.registry.resolve(request.model);
    const generationRequest = toGenerationRequest(request, model);
    const generation = await engine.generate(generationRequest, running.signal);
    const head = answerHead(model, generationRequest.steering, new Date());
    if (request.stream !== true) {
      const { choices, usages } = await collect(generation.events, generationRequest.choices);
      running.end();
      return context.json(chatCompletion(head, choices, usages));
    }
    const events = await firstEventAwaited(generation.events, deps.limits.keepAliveMs);
    const frames = chatCompletionFrames(head, events, {
      choices: generationRequest.choices,
      includeUsage: request.stream_options?.include_usage === true,
      onError: (error) => {
        if (!running.signal.aborted) {
          deps.logError(context.get("requestId"), error);
        }
      },
    });
    return eventStreamResponse(frames, {
      keepAliveMs: deps.limits.keepAliveMs,
      onClose: (how) => {
        if (how === "abandoned") {
          running.abort();
          // Nobody hears how it ends: the request's reader has gone.
          events.return().catch(() => {});
        }
        running.end();
      },
    });
  } catch (error) {
    running.end();
    throw error;
  }
}

/** Waits for the first event, for a while, so that a failure before it is thrown here and becomes a real status. */
async function firstEventAwaited(events: AsyncIterable<GenerationEvent>, patienceMs: number) {
  const source = events[Symbol.asyncIterator]();
  let first: Promise<IteratorResult<GenerationEvent>> | null = source.next();
  await within(first, patienceMs);
  return {
    next() {
      const next = first ?? source.next();
      first = null;
      return next;
    },
    async return(): Promise<IteratorResult<GenerationEvent>> {
      return (await source.return?.()) ?? { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** @returns choices and usages in the order of the choices. */
async function collect(events: AsyncIterable<GenerationEvent>, count: number) {
  const texts = new Array<string>(count).fill("");
  const choices: Choice[] = [];
  const usages: Usage[] = [];
  for await (const event of events) {
    if (event.kind === "delta") {
      texts[event.choice] += event.text;
      continue;
    }
    if (event.kind === "prompt") continue;
    if (event.reason === "cancelled") {
      throw cancelledByServer();
    }
    choices[event.choice] = { text: texts[event.choice] ?? "", reason: event.reason };
    usages[event.choice] = event.usage;
  }
  // A choice that is missing leaves a hole, which `filter` passes over.
  if (choices.filter(Boolean).length < count) throw endedEarly();
  return { choices, usages };
}
