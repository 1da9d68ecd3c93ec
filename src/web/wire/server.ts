import { type Access, callJson } from "./call.js";
import { field, fields, list, number, text } from "./read.js";

/** One entry of GET /v1/models, as far as the page wants to know. */
export interface ModelEntry {
  readonly id: string;
  /** The base's id; the same as `id` for a base. */
  readonly root: string;
  /** Null for a base. */
  readonly adapter: string | null;
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
        layers: number(field(entry, "layers")) ?? 0,
        contextLength: number(field(entry, "max_model_len")),
        licence: text(field(entry, "licence")),
        sampling: fields(field(entry, "sampling")),
      },
    ];
  });
}

/** What a newcomer should talk to: the first model that is steered, else the first. */
export function defaultModel(models: readonly ModelEntry[]): ModelEntry | null {
  return models.find(({ adapter }) => adapter !== null) ?? models[0] ?? null;
}
