import type { Architecture } from "../../model/manifest.js";
import { rotateRows } from "../../model/rotation.js";
import { type ControlVector, checkControlVector, layersOf, vectorFingerprint } from "../../steering/control-vector.js";
import { type Steering, vectorsOf } from "../../steering/steering.js";
import { VectorStack } from "../../steering/vector-stack.js";
import type { VectorInfo } from "../model-info.js";

interface KnownVector {
  readonly info: VectorInfo;
  /** Turned as the residual stream is. */
  readonly directions: ReadonlyMap<number, Float32Array>;
}

/**
 * The control vectors of one engine while they come and go. A request gets its stack when it is admitted, and keeps it
 * to its end whatever becomes of the names.
 */
export class VectorSet {
  readonly #architecture: Architecture;
  readonly #rotation: number;
  readonly #vectors = new Map<string, KnownVector>();

  /** @param rotation channels of the residual stream that are turned together. */
  constructor(architecture: Architecture, rotation: number) {
    this.#architecture = architecture;
    this.#rotation = rotation;
  }

  /** In the order in which they came. */
  get infos(): readonly VectorInfo[] {
    return [...this.#vectors.values()].map(({ info }) => info);
  }

  find(name: string): VectorInfo | undefined {
    return this.#vectors.get(name)?.info;
  }

  /** In place of another one of its name. @throws ToastError `invalid_vector` */
  put(vector: ControlVector): void {
    checkControlVector(vector, this.#architecture);
    const directions = new Map<number, Float32Array>();
    for (const [layer, direction] of vector.directions) {
      const turned = direction.slice();
      rotateRows(turned, this.#rotation);
      directions.set(layer, turned);
    }
    const { name } = vector;
    const info = { name, layers: layersOf(vector), fingerprint: vectorFingerprint(vector) };
    this.#vectors.set(name, { info, directions });
  }

  /** @returns whether there was one. */
  delete(name: string): boolean {
    return this.#vectors.delete(name);
  }

  /** @returns what a request's vectors add; null when it has none. Every name must be known. */
  stackOf(steering: Steering): VectorStack | null {
    const uses = vectorsOf(steering);
    if (uses.length === 0) return null;
    const stacked = uses.map((use) => {
      const known = this.#vectors.get(use.name);
      if (known === undefined) throw new Error(`vector ${use.name} was admitted but is not known`);
      return { ...use, directions: known.directions };
    });
    return new VectorStack(stacked, this.#architecture);
  }
}
