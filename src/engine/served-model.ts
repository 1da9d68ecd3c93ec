import type { AdapterInfo, ModelInfo } from "./model-info.js";

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
