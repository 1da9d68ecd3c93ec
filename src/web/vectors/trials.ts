import type { LayerRange } from "../vector-stack.js";

/** What is tried at several strengths or in several layers. */
export interface Subject {
  readonly kind: "vector" | "adapter";
  /** The vector's name, or the served id of the model with the adapter. */
  readonly name: string;
  /** First and last layer that it steers. */
  readonly layers: LayerRange;
  /** Strengths at which the text holds together; null where nobody knows. */
  readonly recommended: readonly [low: number, high: number] | null;
}

/** Bounds of what the server takes. */
export const strengthBounds = { vector: [-4, 4], adapter: [0, 4] } as const;

/**
 * Five strengths that show a subject: its recommended range from end to end with the base in it, and a step beyond,
 * where the text comes apart. In rising order, no two alike.
 */
export function stripStrengths({ kind, recommended }: Pick<Subject, "kind" | "recommended">): readonly number[] {
  if (kind === "adapter") return [0, 0.5, 1, 1.5, 2];
  const [low, high] = recommended ?? [-0.5, 0.5];
  const beyond = 0.5;
  if (low === 0) return [-beyond, 0, high / 2, high, high + beyond];
  if (high === 0) return [low - beyond, low, low / 2, 0, beyond];
  return recommended === null ? [-1, low, 0, high, 1] : [low, 0, high / 2, high, high + beyond];
}

/** Where a strength lies, seen from the recommended range. */
export type Standing = "base" | "recommended" | "beyond" | "unknown";

export function standingOf(strength: number, { kind, recommended }: Pick<Subject, "kind" | "recommended">): Standing {
  if (strength === 0) return "base";
  if (kind === "adapter") return strength > 1 ? "beyond" : "recommended";
  if (recommended === null) return "unknown";
  return strength >= recommended[0] && strength <= recommended[1] ? "recommended" : "beyond";
}

export const standingWords: Readonly<Record<Standing, string>> = {
  base: "the model as it is",
  recommended: "recommended",
  beyond: "past the recommended range",
  unknown: "not measured",
};

const mostWindows = 5;

/** Cuts layers into up to five windows that lie side by side, as equal as can be, the lowest first. */
export function layerWindows([first, last]: LayerRange): readonly LayerRange[] {
  const layers = last - first + 1;
  const count = Math.min(mostWindows, layers);
  return Array.from({ length: count }, (_, at) => [
    first + Math.round((at * layers) / count),
    first + Math.round(((at + 1) * layers) / count) - 1,
  ]);
}

/** A strength for one window of five: what it adds is a fraction of the whole, so it may be turned up further. */
export function windowStrength({ kind, recommended }: Pick<Subject, "kind" | "recommended">): number {
  if (kind === "adapter") return 2;
  const high = recommended?.[1] ?? 1;
  return Math.min(4, Math.max(1, high * 3));
}
