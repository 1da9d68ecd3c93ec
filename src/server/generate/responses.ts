import type { Context } from "hono";
import { response } from "../../openai/response.js";
import { responseFrames } from "../../openai/response-events.js";
import { responseHead } from "../../openai/response-head.js";
import {
  parseResponseRequest,
  type ResponseRequest,
  responseGenerationRequest,
} from "../../openai/response-request.js";
import { readingOf } from "../../openai/tool-calls.js";
import type { ServerDeps } from "../server-deps.js";
import { type GenerationEndpoint, handleGeneration } from "./generation-endpoint.js";

/** POST /v1/responses, without a memory: nothing is stored, so every request brings its whole conversation. */
export function handleResponses(context: Context, deps: ServerDeps): Promise<Response> {
  return handleGeneration(responses, context, deps);
}

const responses: GenerationEndpoint<ResponseRequest> = {
  name: "responses",
  parse: parseResponseRequest,
  generations: (request, model) => [responseGenerationRequest(request, model)],
  head: (model, { steering }) => responseHead("resp", model, steering, new Date()),
  response: (head, output, { request, generations: [generation] }) =>
    response(head, request, output, {
      report: generation.report,
      reading: readingOf(generation),
      format: generation.calls?.format,
    }),
  frames: (head, { request, generations: [generation] }) =>
    responseFrames(head, request, {
      report: generation.report,
      reading: readingOf(generation),
      format: generation.calls?.format,
    }),
};
