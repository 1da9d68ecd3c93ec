import type { AdapterInfo, ModelInfo } from "../engine/messages.js";

/** One model id of the wire: a base, or a base with one of its adapters (`base:adapter`). */
export interface ServedModel {
  readonly id: string;
  readonly base: ModelInfo;
  /** The adapter that the id itself names; null for the base. */
  readonly adapter: AdapterInfo | null;
}

/** @returns the ids that a loaded model folder stands for: the base first, then each adapter. */
export function servedModelsOf(base: ModelInfo): readonly ServedModel[] {
  return [
    { id: base.id, base, adapter: null },
    ...base.adapters.map((adapter) => ({ id: `${base.id}:${adapter.name}`, base, adapter })),
  ];
}

/** What a newcomer should talk to: the first model that is steered, else the first. */
export function defaultServedModel(models: readonly ServedModel[]): ServedModel | null {
  return models.find((model) => model.adapter !== null) ?? models[0] ?? null;
}

/** An entry of GET /v1/models: OpenAI's four keys, and what a client of this server may want to know. */
export function modelObject(model: ServedModel, created: number) {
  return {
    id: model.id,
    object: "model" as const,
    created,
    owned_by: "toast-serve",
    root: model.base.id,
    parent: model.adapter === null ? null : model.base.id,
    max_model_len: model.base.contextLength,
    layers: model.base.layers,
    quantization: model.base.quantization,
    licence: model.adapter === null ? model.base.licence : model.adapter.licence,
    steering: model.adapter === null ? null : { adapter: model.adapter.name, stage: model.adapter.stage },
  };
}

export function modelList(models: readonly ServedModel[], created: number) {
  return { object: "list" as const, data: models.map((model) => modelObject(model, created)) };
}
