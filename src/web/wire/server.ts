import { type Access, callJson } from "./call.js";
import { field, fields, list, number, numbers, text } from "./read.js";

/** One entry of GET /v1/models, as far as the page wants to know. */
export interface ModelEntry {
  readonly id: string;
  /** The base's id; the same as `id` for a base. */
  readonly root: string;
  /** Null for a base. */
  readonly adapter: string | null;
  /** What the adapter makes of the model's text, and a prompt that shows it; null where its makers said nothing. */
  readonly description: string | null;
  readonly examplePrompt: string | null;
  readonly recommendedStrength: number | null;
  readonly layers: number;
  readonly contextLength: number | null;
  readonly licence: string | null;
  /** Recommended sampling, by its names on the wire. */
  readonly sampling: Readonly<Record<string, unknown>>;
}

export type ServerPhase =
  | { readonly kind: "unknown" }
  | { readonly kind: "loading"; readonly stage: string; readonly fraction: number }
  | { readonly kind: "ready" }
  | { readonly kind: "draining" }
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "unreachable" };

/** @returns where the server is in its life; never throws. */
export async function readPhase(): Promise<ServerPhase> {
  try {
    const response = await fetch("/health");
    return phaseOf(response.ok, await response.json());
  } catch {
    return { kind: "unreachable" };
  }
}

export function phaseOf(ok: boolean, body: unknown): ServerPhase {
  const { status, stage, fraction, message } = fields(body);
  switch (status) {
    case "ready":
      return { kind: "ready" };
    case "loading":
      return { kind: "loading", stage: text(stage) ?? "models", fraction: number(fraction) ?? 0 };
    case "draining":
      return { kind: "draining" };
    case "failed":
      return { kind: "failed", message: text(message) ?? "The server reports a failure." };
    default:
      return ok ? { kind: "ready" } : { kind: "failed", message: "The server is not ready." };
  }
}

export async function readModels(access: Access): Promise<readonly ModelEntry[]> {
  return modelsOf(await callJson(access, "/v1/models"));
}

export function modelsOf(body: unknown): readonly ModelEntry[] {
  return list(field(body, "data")).flatMap((item) => {
    const entry = fields(item);
    const id = text(field(entry, "id"));
    if (id === null) return [];
    return [
      {
        id,
        root: text(field(entry, "root")) ?? id,
        adapter: text(field(entry, "steering", "adapter")),
        description: text(field(entry, "steering", "description")),
        examplePrompt: text(field(entry, "steering", "example_prompt")),
        recommendedStrength: number(field(entry, "steering", "recommended_strength")),
        layers: number(field(entry, "layers")) ?? 0,
        contextLength: number(field(entry, "max_model_len")),
        licence: text(field(entry, "licence")),
        sampling: fields(field(entry, "sampling")),
      },
    ];
  });
}

/** One entry of GET /v1/vectors, as far as the page wants to know. */
export interface VectorEntry {
  readonly name: string;
  /** The base's id. */
  readonly root: string;
  readonly description: string | null;
  readonly examplePrompt: string | null;
  /** That it has directions for, both ends included; null from a server that does not say. */
  readonly layers: readonly [first: number, last: number] | null;
  /** Strengths at which the text holds together, if they were measured. */
  readonly recommended: readonly [low: number, high: number] | null;
  /** How well it tells its two sides apart: 0.5 is chance, 1 each time; null where nobody measured. */
  readonly separation: number | null;
  /** What strength 1 adds, as a share of the layers' outputs. */
  readonly normShare: number | null;
  /** Both for each layer with a direction; empty where nobody measured. */
  readonly layerSeparations: readonly number[];
  readonly layerNormShares: readonly number[];
  /** Whether it was made or sent here, and so may be renamed and is gone for good when it is deleted. */
  readonly isOwn: boolean;
  readonly fingerprint: string | null;
}

export async function readVectors(access: Access): Promise<readonly VectorEntry[]> {
  return vectorsOf(await callJson(access, "/v1/vectors"));
}

export function vectorsOf(body: unknown): readonly VectorEntry[] {
  return list(field(body, "data")).flatMap((item) => vectorOf(item) ?? []);
}

/** @returns null for what is no vector. */
export function vectorOf(item: unknown): VectorEntry | null {
  const name = text(field(item, "name"));
  const root = text(field(item, "model"));
  if (name === null || root === null) return null;
  return {
    name,
    root,
    description: text(field(item, "description")),
    examplePrompt: text(field(item, "example_prompt")),
    layers: pairOf(field(item, "layers")),
    recommended: pairOf(field(item, "recommended")),
    separation: number(field(item, "separation")),
    normShare: number(field(item, "norm_share")),
    layerSeparations: numbers(field(item, "layer_separations")),
    layerNormShares: numbers(field(item, "layer_norm_shares")),
    isOwn: field(item, "origin") === "upload",
    fingerprint: text(field(item, "fingerprint")),
  };
}

function pairOf(value: unknown): readonly [number, number] | null {
  const [low, high] = numbers(value);
  return low === undefined || high === undefined ? null : [low, high];
}

/** What a newcomer should talk to: the first model that is steered, else the first. */
export function defaultModel(models: readonly ModelEntry[]): ModelEntry | null {
  return models.find(({ adapter }) => adapter !== null) ?? models[0] ?? null;
}
