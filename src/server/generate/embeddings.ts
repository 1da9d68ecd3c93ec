import type { ServingEngine } from "../../engine/engine.js";
import type { GenerationRequest } from "../../engine/generation-request.js";
import { type EmbeddedInput, embeddingList } from "../../openai/embedding.js";
import { type EmbeddingRequest, embeddingGenerationRequests } from "../../openai/embedding-request.js";
import { endedEarly, finishReasonOf } from "../../openai/stream-events.js";
import { inWireFields, type wireFields } from "../../openai/wire-fields.js";
import type { Call } from "../route.js";
import type { ServerDeps } from "../server-deps.js";

/** Inputs of one request that are with the engine at a time: the others do not take up places in its queue. */
const atOnce = 8;

/** POST /v1/embeddings: each input is a request for no tokens, behind the edge as every generation is. */
export async function embed({ body, context, deps }: Call<EmbeddingRequest>) {
  const request = await body();
  const { inputs, model, steering } = await embedInputs("embeddings", request, deps, context.req.raw.signal);
  return embeddingList(inputs, { model, steering, format: request.encoding_format ?? "float" });
}

/**
 * @param endpoint whose words refusals have.
 * @throws ToastError when an input is refused, cancelled, or fails.
 */
export async function embedInputs(
  endpoint: keyof typeof wireFields,
  request: EmbeddingRequest,
  deps: Pick<ServerDeps, "registry" | "running">,
  signal: AbortSignal,
) {
  const running = deps.running.begin(signal);
  try {
    const resolved = deps.registry.resolve(request.model);
    const engine = inWireFields(endpoint, resolved.engine);
    const generations = embeddingGenerationRequests(request, resolved.model);
    const inputs = await embedAll(generations, engine, running.signal);
    const steering: GenerationRequest["steering"] = generations[0]?.steering ?? { kind: "plain" };
    return { inputs, model: resolved.model, steering };
  } finally {
    // Of several inputs one may be refused while others run already.
    running.abort();
    running.end();
  }
}

async function embedAll(
  generations: readonly GenerationRequest[],
  engine: ServingEngine,
  signal: AbortSignal,
): Promise<readonly EmbeddedInput[]> {
  const inputs: EmbeddedInput[] = [];
  // One list for all: who is done takes the next.
  const left = generations.entries();
  const embedThese = async () => {
    for (const [index, generation] of left) inputs[index] = await embedOne(generation, engine, signal);
  };
  await Promise.all(Array.from({ length: atOnce }, embedThese));
  return inputs;
}

/** @throws ToastError when it is refused, cancelled, or fails. */
async function embedOne(
  request: GenerationRequest,
  engine: ServingEngine,
  signal: AbortSignal,
): Promise<EmbeddedInput> {
  const { promptTokens, events } = await engine.generate(request, signal);
  let vector: Float32Array | null = null;
  for await (const event of events) {
    if (event.kind !== "finished") continue;
    finishReasonOf(event.reason);
    vector = event.pooled ?? null;
  }
  if (vector === null) throw endedEarly();
  return { vector, promptTokens };
}
