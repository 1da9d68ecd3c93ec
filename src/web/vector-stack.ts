import { field, fields, number, numbers } from "./wire/read.js";

/** How a request uses one control vector. */
export interface VectorDial {
  /** Not 0. */
  readonly strength: number;
  /** Layers behind which it is added, both ends included; null: all that it has directions for. */
  readonly layers: LayerRange | null;
}

export type LayerRange = readonly [from: number, to: number];

/** The control vectors of a request, by their names; those that are not here are at 0. */
export type VectorStack = Readonly<Record<string, VectorDial>>;

/** Where the sliders end on both sides: text has come apart before. */
export const maxVectorStrength = 2;

/** The server's own bound, for what comes by a link. */
const mostStrength = 4;

/** A stack of what was stored, perhaps by an older page, which kept bare strengths. */
export function readStack(stored: unknown): VectorStack {
  const known = Object.entries(fields(stored)).flatMap(([name, value]) => {
    const strength = number(value) ?? number(field(value, "strength")) ?? 0;
    return strength === 0 ? [] : [[name, dialOf(strength, numbers(field(value, "layers")))] as const];
  });
  return Object.fromEntries(known);
}

/** @param layers two numbers, or none. */
export function dialOf(strength: number, layers: readonly number[]): VectorDial {
  const [from, to] = layers;
  return {
    strength: Math.min(mostStrength, Math.max(-mostStrength, strength)),
    layers: from === undefined || to === undefined ? null : [from, to],
  };
}

/** The stack with one vector at another strength; at 0 it leaves the stack, its layers with it. */
export function withStrength(stack: VectorStack, name: string, strength: number): VectorStack {
  const { [name]: dial, ...others } = stack;
  return strength === 0 ? others : { ...others, [name]: { strength, layers: dial?.layers ?? null } };
}

/** What of a stack is known by the names given; vectors come and go. */
export function knownOf(stack: VectorStack, names: readonly string[]): VectorStack {
  return Object.fromEntries(Object.entries(stack).filter(([name]) => names.includes(name)));
}

/** Each vector in words: `happy 1.00`, `happy 1.00 in layers 8–12`. */
export function stackWords(stack: VectorStack): readonly string[] {
  return Object.entries(stack).map(([name, { strength, layers }]) => {
    const limit = layers === null ? "" : ` in layers ${layers[0]}–${layers[1]}`;
    return `${name} ${strength.toFixed(2)}${limit}`;
  });
}

/**
 * The `steering` of a request body, spread into it; nothing where nothing steers.
 * @param adapter its strength, and layers where not all; null for a model without one.
 */
export function steeringBody(
  adapter: { readonly strength: number; readonly layers?: LayerRange | null } | null,
  stack: VectorStack,
  explain = false,
): object {
  const vectors = Object.entries(stack).map(([name, { strength, layers }]) => ({
    name,
    strength,
    ...(layers === null ? {} : { layers }),
  }));
  if (adapter === null && vectors.length === 0) return {};
  return {
    steering: {
      ...(adapter === null ? {} : { strength: adapter.strength }),
      ...(adapter?.layers ? { layers: adapter.layers } : {}),
      ...(vectors.length === 0 ? {} : { vectors }),
      ...(explain ? { explain } : {}),
    },
  };
}
