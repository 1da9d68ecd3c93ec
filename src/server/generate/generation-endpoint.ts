import type { Context } from "hono";
import type { ServingEngine } from "../../engine/engine.js";
import type { GenerationRequest } from "../../engine/generation-request.js";
import type { ServedModel } from "../../engine/served-model.js";
import type { ResponseHead } from "../../openai/response-head.js";
import { type CollectedOutput, collectOutput, mergeGenerations } from "../../openai/stream-events.js";
import { framesOf, type StreamFrames } from "../../openai/stream-frames.js";
import { inWireFields, type wireFields } from "../../openai/wire-fields.js";
import { readJsonBody } from "../read-json-body.js";
import type { ServerDeps } from "../server-deps.js";
import { within } from "../within.js";
import { admitWork } from "./admit-work.js";
import { eventStreamResponse, type StreamKind } from "./event-stream-response.js";
import { Lookahead } from "./lookahead.js";

/** What one generating endpoint has of its own: how a body reads, and how a response is written. */
export interface GenerationEndpoint<
  Request extends { readonly model: string | null; readonly stream: boolean | null },
> {
  readonly name: keyof typeof wireFields;
  /** How its frames go over the wire; default: as server-sent events. */
  readonly streamAs?: StreamKind;
  /** @throws ToastError with the `param` at fault. */
  parse(body: unknown): Request;
  /** One for each prompt, all steered and reported alike, with the same number of choices. */
  generations(request: Request, model: ServedModel): Generations;
  head(model: ServedModel, generation: GenerationRequest): ResponseHead;
  /** The body of an unstreamed response. */
  response(head: ResponseHead, output: CollectedOutput, call: GenerationCall<Request>): object | Promise<object>;
  frames(head: ResponseHead, call: GenerationCall<Request>): StreamFrames | Promise<StreamFrames>;
}

/** What of the server generating needs. */
export type GenerationDeps = Pick<ServerDeps, "registry" | "running" | "limits" | "bodies" | "logError">;

export type Generations = readonly [GenerationRequest, ...GenerationRequest[]];

/** A request on its way. */
export interface GenerationCall<Request> {
  readonly request: Request;
  readonly model: ServedModel;
  readonly engine: ServingEngine;
  readonly generations: Generations;
  /** Of all prompts together. */
  readonly promptTokens: number;
  readonly requestId: string;
}

/**
 * Answers a generating request. Everything that can be refused is refused before a header is sent: the request is
 * parsed, the model found, every prompt admitted by the engine, and the first event awaited. Only a request that waits
 * longer than the keep-alive interval gets its headers earlier, to have comments sent while it queues.
 */
export async function handleGeneration<
  Request extends { readonly model: string | null; readonly stream: boolean | null },
>(endpoint: GenerationEndpoint<Request>, context: Context, deps: GenerationDeps): Promise<Response> {
  const running = deps.running.begin(context.req.raw.signal);
  try {
    const request = endpoint.parse(await readJsonBody(context, deps.limits.maxBodyBytes, deps.bodies));
    const resolved = deps.registry.resolve(request.model);
    const { model } = resolved;
    const engine = inWireFields(endpoint.name, resolved.engine);
    const generations = endpoint.generations(request, model);
    admitWork(generations, model.base.contextLength, deps.limits.maxRequestTokens);
    const [first] = generations;
    const started = await Promise.all(generations.map((generation) => engine.generate(generation, running.signal)));
    const head = endpoint.head(model, first);
    const promptTokens = started.reduce((sum, { promptTokens: tokens }) => sum + tokens, 0);
    const requestId = context.get("requestId") as string;
    const call: GenerationCall<Request> = { request, model, engine, generations, promptTokens, requestId };
    const events = new Lookahead(mergeGenerations(started, first.choices));
    const choices = generations.length * first.choices;
    if (request.stream !== true) {
      const output = await collectOutput(events, { prompts: generations.length, choices });
      const body = await endpoint.response(head, output, call);
      running.end();
      return context.json(body);
    }
    const wireFrames = await endpoint.frames(head, call);
    // For a while, so that a failure before the first event is thrown here and becomes a real status.
    await within(events.peek(), deps.limits.keepAliveMs);
    const frames = framesOf(wireFrames, events, {
      choices,
      onError: (error) => {
        if (!running.signal.aborted) {
          deps.logError(requestId, error);
        }
      },
    });
    return eventStreamResponse(frames, {
      kind: endpoint.streamAs,
      keepAliveMs: deps.limits.keepAliveMs,
      onClose: () => {
        // Abandoned, or broken off by one of several generations: what still runs has no reader.
        running.abort();
        events.return().catch(() => {});
        running.end();
      },
    });
  } catch (error) {
    // One of several prompts may be refused while others run already.
    running.abort();
    running.end();
    throw error;
  }
}
