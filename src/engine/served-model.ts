import { type CallFormat, ownFormat } from "../text/tool-call-format.js";
import type { AdapterInfo, ModelInfo } from "./model-info.js";

/** One model id of the wire: a base, or a base with one of its adapters (`base:adapter`). */
export interface ServedModel {
  readonly id: string;
  readonly base: ModelInfo;
  /** The adapter that the id itself names; null for the base. */
  readonly adapter: AdapterInfo | null;
}

/**
 * @param names that it answers to beside its own id.
 * @returns the ids that a loaded model folder stands for, under each name: the base first, then each adapter.
 */
export function servedModelsOf(base: ModelInfo, names: readonly string[] = []): readonly ServedModel[] {
  return [...new Set([...names, base.id])].flatMap((name) => [
    { id: name, base, adapter: null },
    ...base.adapters.map((adapter) => ({ id: `${name}:${adapter.name}`, base, adapter })),
  ]);
}

/** How calls stand in a model's answers. @param adapter that steers them; null: none */
export function callFormatOf({ base }: ServedModel, adapter: string | null): CallFormat {
  const steered = base.adapters.find(({ name }) => name === adapter);
  return (adapter === null ? base.calls : steered?.calls) ?? ownFormat;
}

/** What a newcomer should talk to: the first model that is steered, else the first. */
export function defaultServedModel(models: readonly ServedModel[]): ServedModel | null {
  return models.find((model) => model.adapter !== null) ?? models[0] ?? null;
}
