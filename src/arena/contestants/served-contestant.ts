import type { ServingEngine } from "../../engine/engine.js";
import type { ServedModel } from "../../engine/served-model.js";
import { ToastError } from "../../errors.js";
import { answered, endedEarly } from "../../openai/answer-events.js";
import { systemFingerprint } from "../../openai/answer-head.js";
import { chatGenerationRequest, parseChatCompletionRequest } from "../../openai/chat-completion-request.js";
import type { SteeringChoice } from "../../openai/steering-field.js";
import { inWireFields } from "../../openai/wire-fields.js";
import { storableText } from "../battle-record.js";
import { type AnswerEvent, type Contestant, type Question, Stopwatch } from "./contestant.js";

/** Where models are found by id; the server's registry is one. */
export interface ModelCatalog {
  readonly models: readonly ServedModel[];
  resolve(id: string): { readonly model: ServedModel; readonly engine: ServingEngine };
}

export interface ServedEntry {
  readonly id: string;
  readonly label: string;
  readonly model: string;
  readonly steering: SteeringChoice | null;
  readonly arena: boolean;
}

/** A model of this process, asked as POST /v1/chat/completions would ask it. */
export class ServedContestant implements Contestant {
  readonly kind = "served";
  readonly template = null;
  readonly id: string;
  readonly label: string;
  readonly model: string;
  readonly steering: SteeringChoice | null;
  readonly arena: boolean;
  readonly #catalog: ModelCatalog;

  constructor(entry: ServedEntry, catalog: ModelCatalog) {
    this.id = entry.id;
    this.label = entry.label;
    this.model = entry.model;
    this.steering = entry.steering;
    this.arena = entry.arena;
    this.#catalog = catalog;
  }

  /** The same model steered otherwise, for one comparison. */
  steeredBy(steering: SteeringChoice): ServedContestant {
    return new ServedContestant({ ...this, steering }, this.#catalog);
  }

  async *ask(question: Question, signal: AbortSignal): AsyncGenerator<AnswerEvent, void, undefined> {
    const request = parseChatCompletionRequest({
      model: this.model,
      messages: question.messages,
      temperature: question.temperature,
      top_p: question.topP,
      max_tokens: question.maxTokens,
      seed: question.seed,
      ...(this.steering === null ? {} : { steering: this.steering }),
    });
    const { model, engine } = this.#catalog.resolve(this.model);
    const generationRequest = chatGenerationRequest(request, model);
    const { steering } = generationRequest;
    const stopwatch = new Stopwatch();
    const generation = await inWireFields("chatCompletions", engine).generate(generationRequest, signal);
    let text = "";
    for await (const event of generation.events) {
      if (event.kind === "delta" && event.text !== "") {
        stopwatch.sawText();
        text += event.text;
        yield { kind: "text", text: event.text };
      }
      if (event.kind !== "finished") continue;
      const adapter = steering.kind === "steered" ? steering.adapter : null;
      yield {
        kind: "end",
        side: {
          contestant: this.id,
          label: this.label,
          kind: "served",
          model: model.id,
          adapter,
          steering:
            steering.kind === "steered"
              ? { adapter: steering.adapter, strength: steering.strength, layers: [...steering.layers] }
              : null,
          systemFingerprint: systemFingerprint(model, steering),
          weightsHash: model.base.fingerprint,
          adapterHash: model.base.adapters.find(({ name }) => name === adapter)?.fingerprint ?? null,
          template: null,
          text: storableText(text),
          promptTokens: event.usage.promptTokens,
          completionTokens: event.usage.completionTokens,
          ...stopwatch.times,
          finishReason: answered(event.reason),
        },
      };
      return;
    }
    throw endedEarly();
  }
}

/** @throws ToastError `invalid_request` when what was asked for has no steering to change. */
export function withSteering(contestant: Contestant, steering: SteeringChoice | null): Contestant {
  if (steering === null) return contestant;
  if (contestant instanceof ServedContestant) return contestant.steeredBy(steering);
  throw new ToastError("invalid_request", `'${contestant.id}' is not a model of this server: it cannot be steered.`, {
    param: "contestants",
  });
}
