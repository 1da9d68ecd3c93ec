import type { Context } from "hono";
import type { ServingEngine } from "../../engine/engine.js";
import type { Prompt } from "../../engine/prompt.js";
import { type CompletionOptions, completion, completionChunks } from "../../openai/completion.js";
import {
  type CompletionRequest,
  completionGenerationRequests,
  parseCompletionRequest,
} from "../../openai/completion-request.js";
import { responseHead } from "../../openai/response-head.js";
import { chunkFrames } from "../../openai/stream-frames.js";
import type { ServerDeps } from "../server-deps.js";
import { type GenerationCall, type GenerationEndpoint, handleGeneration } from "./generation-endpoint.js";

/** POST /v1/completions. */
export function handleCompletions(context: Context, deps: ServerDeps): Promise<Response> {
  return handleGeneration(completions, context, deps);
}

const completions: GenerationEndpoint<CompletionRequest> = {
  name: "completions",
  parse: parseCompletionRequest,
  generations: completionGenerationRequests,
  head: (model, { steering }) => responseHead("cmpl", model, steering, new Date()),
  response: async (head, output, call) => completion(head, output, await optionsOf(call)),
  async frames(head, call) {
    const includeUsage = call.request.stream_options?.include_usage === true;
    const prompts = call.generations.length;
    const options = { ...(await optionsOf(call)), prompts, includeUsage };
    return chunkFrames(completionChunks(head, options), includeUsage);
  },
};

async function optionsOf({
  request,
  generations,
  engine,
}: GenerationCall<CompletionRequest>): Promise<CompletionOptions> {
  const [{ choices, report }] = generations;
  const echo =
    request.echo === true ? await Promise.all(generations.map(({ prompt }) => textOf(prompt, engine))) : null;
  return { choices, report, promptLogprobs: request.prompt_logprobs, echo };
}

async function textOf(prompt: Prompt, engine: ServingEngine): Promise<string> {
  switch (prompt.kind) {
    case "text":
      return prompt.text;
    case "tokens":
      // As in what is generated, special tokens are no text; so the offsets of `logprobs` fit.
      return (await engine.ask({ kind: "decode", ids: prompt.ids, specialTokens: "skipped" })).text;
    case "chat":
      return (await engine.ask({ kind: "render", prompt, adapter: null })).text;
  }
}
