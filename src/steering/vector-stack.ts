import { createHash } from "node:crypto";
import { at } from "../at.js";
import type { VectorUse } from "./steering.js";

/** One control vector of a request's stack, with its directions. */
export interface StackedVector extends VectorUse {
  /** By layer, float32 [D], in the channels in which the residual stream is kept (the manifest's `rotation`). */
  readonly directions: ReadonlyMap<number, Float32Array>;
}

/** How far one vector of a stack lies along the residual stream at one token, layer by layer of its use. */
export interface VectorProjection {
  readonly name: string;
  /**
   * The layer's output times the direction's unit vector, as it was before the stack's addition. Null for a layer that
   * the vector has no direction for.
   */
  readonly before: readonly (number | null)[];
  /** The same behind the addition: what later layers read. */
  readonly after: readonly (number | null)[];
}

/** A layer in which a vector acts. */
interface Place {
  /** float32 [D], of length 1. */
  readonly unit: Float32Array;
  /** How far the addition of the whole stack lies along it. */
  readonly added: number;
}

/** The control vectors of one request, added up. */
export class VectorStack {
  /**
   * float32 [L,D]: what every token of the request gets added to the residual stream behind each layer, in the channels
   * in which it is kept.
   */
  readonly addition: Float32Array;
  /** Tells this addition from every other: what a lane depends on besides its tokens and its adapter. */
  readonly key: string;
  readonly #vectors: readonly {
    readonly name: string;
    readonly places: readonly (Place | null)[];
    readonly from: number;
  }[];

  /** @param vectors at least one, checked against a model of this shape (`checkControlVector`). */
  constructor(
    vectors: readonly StackedVector[],
    { layers, hiddenSize }: { readonly layers: number; readonly hiddenSize: number },
  ) {
    this.addition = sumOf(vectors, layers, hiddenSize);
    const { buffer, byteOffset, byteLength } = this.addition;
    this.key = createHash("sha256")
      .update(new Uint8Array(buffer, byteOffset, byteLength))
      .digest("hex");
    this.#vectors = vectors.map(({ name, directions, layers: [from, to] }) => ({
      name,
      from,
      places: Array.from({ length: to - from + 1 }, (_, index) => {
        const layer = from + index;
        return placeOf(directions.get(layer), this.addition.subarray(layer * hiddenSize, (layer + 1) * hiddenSize));
      }),
    }));
  }

  /**
   * How far each vector lies along the stream, in the order of the request.
   * @param layerOutputs of each layer float32 [T,D], of T tokens that the addition was added to.
   * @returns of each token.
   */
  project(layerOutputs: readonly Float32Array[]): readonly (readonly VectorProjection[])[] {
    const hiddenSize = this.addition.length / layerOutputs.length;
    const tokens = (layerOutputs[0]?.length ?? 0) / hiddenSize;
    return Array.from({ length: tokens }, (_, token) =>
      this.#vectors.map(({ name, from, places }) => {
        const after = places.map((place, index) => {
          const output = layerOutputs[from + index];
          if (place === null || output === undefined) return null;
          return dot(output.subarray(token * hiddenSize, (token + 1) * hiddenSize), place.unit);
        });
        const before = after.map((value, index) => (value === null ? null : value - (places[index]?.added ?? 0)));
        return { name, before, after };
      }),
    );
  }
}

/** Added up in an order of its own, so that the same vectors are the same addition, however a request lists them. */
function sumOf(vectors: readonly StackedVector[], layers: number, hiddenSize: number): Float32Array {
  const sum = new Float64Array(layers * hiddenSize);
  const ordered = [...vectors].sort(
    (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0) || a.layers[0] - b.layers[0] || a.strength - b.strength,
  );
  for (const {
    directions,
    strength,
    layers: [from, to],
  } of ordered) {
    for (const [layer, direction] of directions) {
      if (layer < from || layer > to) continue;
      for (let i = 0; i < hiddenSize; i++) {
        sum[layer * hiddenSize + i] = (sum[layer * hiddenSize + i] as number) + strength * at(direction, i);
      }
    }
  }
  return Float32Array.from(sum);
}

/** Null where there is no direction, or one of zeros. */
function placeOf(direction: Float32Array | undefined, addition: Float32Array): Place | null {
  const length = direction === undefined ? 0 : Math.sqrt(dot(direction, direction));
  if (direction === undefined || length === 0) return null;
  const unit = direction.map((value) => value / length);
  return { unit, added: dot(addition, unit) };
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += at(a, i) * at(b, i);
  return sum;
}
