import type { ServingEngine } from "../../engine/engine.js";
import { defaultServedModel, type ServedModel } from "../../engine/served-model.js";
import type { TextQuestion } from "../../engine/text-questions.js";
import { props, type TextEndpoint, tokenizerInfo } from "../../openai/text-endpoints.js";
import { inWireFields } from "../../openai/wire-fields.js";
import { packageVersion } from "../../package.js";
import type { Call } from "../route.js";
import type { ServerDeps } from "../server-deps.js";

/**
 * POST /tokenize, /detokenize and /apply-template: a question to the worker, which has the tokenizer and the templates.
 */
export async function respondWithText<Question extends TextQuestion, Answer>(
  { name, model: id, ask, tell }: TextEndpoint<Question, Answer>,
  { context, deps }: Pick<Call, "context" | "deps">,
): Promise<Answer> {
  const { model, engine } = resolve(id, deps);
  const asking = { caller: context.get("caller").id, signal: context.req.raw.signal };
  return tell(await inWireFields(name, engine).ask(ask(model), asking), model);
}

/** GET /tokenizer_info, of `?model=` or of the default. */
export async function respondWithTokenizerInfo({ context, deps }: Call) {
  const { model, engine } = resolve(context.req.query("model") ?? null, deps);
  const adapter = model.adapter?.name ?? null;
  const info = await inWireFields("tokenizerInfo", engine).ask({ kind: "describe", adapter });
  return tokenizerInfo(info, model);
}

/** GET /props, of `?model=` or of the default. */
export async function respondWithProps({ context, deps }: Call) {
  const { model, engine } = resolve(context.req.query("model") ?? null, deps);
  const adapter = model.adapter?.name ?? null;
  const info = await inWireFields("props", engine).ask({ kind: "describe", adapter });
  return props(info, model, packageVersion());
}

/** These endpoints are vLLM's and llama.cpp's, whose clients know a single model and name none. */
function resolve(
  id: string | null,
  { registry }: ServerDeps,
): { readonly model: ServedModel; readonly engine: ServingEngine } {
  return registry.resolve(id ?? defaultServedModel(registry.models)?.id ?? "");
}
