import type { Context } from "hono";
import type { TextQuestion } from "../engine/text-questions.js";
import { ToastError } from "../errors.js";
import { defaultServedModel } from "../openai/served-model.js";
import { type TextEndpoint, tokenizerInfo } from "../openai/text-endpoints.js";
import { readJsonBody } from "./read-json-body.js";
import type { ServerDeps } from "./server-deps.js";

/** POST /tokenize, /detokenize and /apply-template: a question to the worker, which has the tokenizer and the templates. */
export async function handleTextQuestion<Question extends TextQuestion>(
  endpoint: TextEndpoint<Question>,
  context: Context,
  deps: ServerDeps,
): Promise<Response> {
  const request = endpoint.parse(await readJsonBody(context.req.raw, deps.limits.maxBodyBytes));
  const { model, engine } = resolve(request.model, deps);
  return context.json(request.tell(await engine.ask(request.ask(model)), model));
}

/** GET /tokenizer_info, of `?model=` or of the default. */
export async function handleTokenizerInfo(context: Context, deps: ServerDeps): Promise<Response> {
  const { model, engine } = resolve(context.req.query("model") ?? null, deps);
  const adapter = model.adapter?.name ?? null;
  return context.json(tokenizerInfo(await engine.ask({ kind: "describe", adapter }), model));
}

/** These endpoints are vLLM's and llama.cpp's, whose clients know a single model and name none. */
function resolve(id: string | null, { registry }: ServerDeps) {
  const wanted = id ?? defaultServedModel(registry.models)?.id;
  if (wanted === undefined) {
    throw new ToastError("server_loading", "The server is loading. Try again soon.");
  }
  return registry.resolve(wanted);
}
