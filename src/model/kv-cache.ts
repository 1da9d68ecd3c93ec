import type { Architecture } from "./manifest.js";

/** Past slots come in whole vectors, so that a row's result does not depend on how far it is padded. */
const strideUnit = 64;

/** Which of the two passes a lane holds the cache of. */
export type LaneKind = "bottomUp" | "steered";

/** One cached pass over one sequence. Owned by the sequence that allocated it until it is released. */
export interface Lane {
  readonly kind: LaneKind;
  /** Where the cache keeps it; moves when lanes are gathered, so read it anew for every forward. */
  readonly slot: number;
  /** Tokens whose keys and values are cached. */
  readonly computed: number;
}

interface OwnedLane extends Lane {
  slot: number;
  computed: number;
}

/**
 * Key/value rows of all lanes: two Float32Arrays a layer, [slots, KV, stride, Hd], read in place by the forward and written
 * only at new rows. A forward reads one contiguous window of slots; `gather` moves lanes into one where they are not
 * already, which happens only when sequences come and go.
 */
export class KvCache {
  readonly #layers: number;
  readonly #kvHeads: number;
  readonly #headDim: number;
  #slots = 0;
  #stride = 0;
  #keys: Float32Array[] = [];
  #values: Float32Array[] = [];
  readonly #lanes: (OwnedLane | null)[] = [];

  constructor(architecture: Architecture) {
    this.#layers = architecture.layers;
    this.#kvHeads = architecture.kvHeads;
    this.#headDim = architecture.headDim;
  }

  /** S: past slots a lane has room for. */
  get stride(): number {
    return this.#stride;
  }

  get lanesInUse(): number {
    return this.#lanes.reduce((count, lane) => count + (lane === null ? 0 : 1), 0);
  }

  /** Bytes held by the arrays. */
  get bytes(): number {
    return 2 * this.#layers * this.#slots * this.#laneSize() * Float32Array.BYTES_PER_ELEMENT;
  }

  /** Bytes of one lane with room for `tokens`. */
  laneBytes(tokens: number): number {
    const stride = roundUp(tokens, strideUnit);
    return 2 * this.#layers * this.#kvHeads * stride * this.#headDim * Float32Array.BYTES_PER_ELEMENT;
  }

  allocate(kind: LaneKind): Lane {
    let slot = this.#lanes.indexOf(null);
    if (slot === -1) {
      slot = this.#slots;
      this.#resize(Math.max(2, this.#slots * 2), Math.max(this.#stride, strideUnit));
    }
    const lane: OwnedLane = { kind, slot, computed: 0 };
    this.#lanes[slot] = lane;
    return lane;
  }

  /** The lane must not be used afterwards. An empty cache gives its memory back. */
  release(lane: Lane): void {
    const owned = this.#owned(lane);
    this.#lanes[owned.slot] = null;
    if (this.lanesInUse === 0) {
      this.#keys = [];
      this.#values = [];
      this.#slots = 0;
      this.#stride = 0;
      this.#lanes.length = 0;
    }
  }

  /** Makes room for `tokens` cached tokens in every lane. */
  reserve(tokens: number): void {
    if (tokens > this.#stride) {
      // A quarter more than asked: a growing lane is laid out anew only a few times in its life.
      this.#resize(this.#slots, roundUp(Math.ceil(tokens * 1.25), strideUnit));
    }
  }

  /**
   * Finds a window of neighbouring slots that holds all `lanes`, and moves lanes only where it would hold too much besides.
   * @returns the window; its other slots are idle in this forward, free or other lanes'.
   */
  gather(lanes: readonly Lane[]): SlotWindow {
    const { window, swaps } = planGather(
      lanes.map((lane) => this.#owned(lane).slot),
      this.#slots,
    );
    for (const [a, b] of swaps) this.#swap(a, b);
    return window;
  }

  /** key/value arrays of one layer for `rows` slots from `first`: views [rows, KV, stride, Hd], valid until the next call that changes the cache. */
  window(layer: number, first: number, rows: number): { key: Float32Array; value: Float32Array } {
    const from = first * this.#laneSize();
    const to = (first + rows) * this.#laneSize();
    return { key: at(this.#keys, layer).subarray(from, to), value: at(this.#values, layer).subarray(from, to) };
  }

  /**
   * Writes T new rows of one layer behind a lane's computed tokens (which `advance` counts once all layers are written).
   * @param row which of the R rows in `newKeys` and `newValues` [R,KV,T,Hd] is this lane's.
   */
  write(
    lane: Lane,
    layer: number,
    row: number,
    newTokens: number,
    newKeys: Float32Array,
    newValues: Float32Array,
  ): void {
    const { slot, computed } = this.#owned(lane);
    const keys = at(this.#keys, layer);
    const values = at(this.#values, layer);
    const width = this.#headDim;
    for (let head = 0; head < this.#kvHeads; head++) {
      const source = (row * this.#kvHeads + head) * newTokens * width;
      const target = ((slot * this.#kvHeads + head) * this.#stride + computed) * width;
      keys.set(newKeys.subarray(source, source + newTokens * width), target);
      values.set(newValues.subarray(source, source + newTokens * width), target);
    }
  }

  advance(lane: Lane, newTokens: number): void {
    this.#owned(lane).computed += newTokens;
  }

  /** Forgets a lane's last tokens; their rows are overwritten by what comes next. */
  rollBack(lane: Lane, tokens: number): void {
    const owned = this.#owned(lane);
    if (tokens > owned.computed) throw new Error(`a lane of ${owned.computed} tokens cannot roll back ${tokens}`);
    owned.computed -= tokens;
  }

  /** What is wrong with the bookkeeping, as sentences; empty when all is well. */
  violations(): string[] {
    const found: string[] = [];
    for (const [slot, lane] of this.#lanes.entries()) {
      if (lane === null) continue;
      if (lane.slot !== slot) found.push(`the lane kept in slot ${slot} believes to be in slot ${lane.slot}`);
      if (lane.computed > this.#stride) {
        found.push(`the lane in slot ${slot} claims ${lane.computed} tokens, the stride is ${this.#stride}`);
      }
    }
    return found;
  }

  #laneSize(): number {
    return this.#kvHeads * this.#stride * this.#headDim;
  }

  #owned(lane: Lane): OwnedLane {
    const owned = this.#lanes[lane.slot];
    if (owned !== lane || owned === undefined || owned === null) {
      throw new Error(`a released lane was used (slot ${lane.slot})`);
    }
    return owned;
  }

  /** Lays the arrays out anew; cached rows are kept. */
  #resize(slots: number, stride: number): void {
    const rowsKept = Math.min(stride, this.#stride) * this.#headDim;
    const relayout = (from: Float32Array | undefined): Float32Array => {
      const to = new Float32Array(slots * this.#kvHeads * stride * this.#headDim);
      if (from === undefined) return to;
      if (stride === this.#stride) {
        to.set(from);
        return to;
      }
      for (let head = 0; head < this.#slots * this.#kvHeads; head++) {
        const source = head * this.#stride * this.#headDim;
        to.set(from.subarray(source, source + rowsKept), head * stride * this.#headDim);
      }
      return to;
    };
    for (let layer = 0; layer < this.#layers; layer++) {
      this.#keys[layer] = relayout(this.#keys[layer]);
      this.#values[layer] = relayout(this.#values[layer]);
    }
    while (this.#lanes.length < slots) this.#lanes.push(null);
    this.#slots = slots;
    this.#stride = stride;
  }

  #swap(a: number, b: number): void {
    const size = this.#laneSize();
    for (const arrays of [this.#keys, this.#values]) {
      for (const array of arrays) {
        const kept = array.slice(a * size, (a + 1) * size);
        array.copyWithin(a * size, b * size, (b + 1) * size);
        array.set(kept, b * size);
      }
    }
    const laneA = this.#lanes[a] ?? null;
    const laneB = this.#lanes[b] ?? null;
    if (laneA !== null) laneA.slot = b;
    if (laneB !== null) laneB.slot = a;
    this.#lanes[a] = laneB;
    this.#lanes[b] = laneA;
  }
}

export interface SlotWindow {
  readonly first: number;
  /** R: rows of the forward, idle ones included. */
  readonly rows: number;
}

/**
 * An idle row costs a forward a few percent, moving a lane costs the copying of its whole cache: up to half as many idle rows as
 * wanted ones are suffered. (A draft that was wrong leaves its steered lane idle for one forward.)
 */
const idleShare = 0.5;

/**
 * The window for a forward, and the swaps of slots that come before it. Pure.
 * @param wanted distinct slots, at least one
 * @param slots how many there are
 */
export function planGather(
  wanted: readonly number[],
  slots: number,
): { window: SlotWindow; swaps: readonly (readonly [number, number])[] } {
  const lowest = Math.min(...wanted);
  const span = Math.max(...wanted) - lowest + 1;
  if (span <= wanted.length * (1 + idleShare)) return { window: { first: lowest, rows: span }, swaps: [] };

  // The window that holds most of them already; the others swap places with what is not wanted in it.
  const isWanted = new Array<boolean>(slots).fill(false);
  for (const slot of wanted) isWanted[slot] = true;
  const rows = wanted.length;
  let inside = 0;
  for (let slot = 0; slot < rows; slot++) if (isWanted[slot]) inside++;
  let best = inside;
  let first = 0;
  for (let start = 1; start + rows <= slots; start++) {
    if (isWanted[start - 1]) inside--;
    if (isWanted[start + rows - 1]) inside++;
    if (inside > best) {
      best = inside;
      first = start;
    }
  }
  const outside = wanted.filter((slot) => slot < first || slot >= first + rows);
  const swaps: [number, number][] = [];
  let hole = first;
  for (const slot of outside) {
    while (isWanted[hole]) hole++;
    swaps.push([hole, slot]);
    hole++;
  }
  return { window: { first, rows }, swaps };
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

function at(arrays: readonly Float32Array[], layer: number): Float32Array {
  const array = arrays[layer];
  if (array === undefined) throw new Error(`the cache has no layer ${layer}`);
  return array;
}
