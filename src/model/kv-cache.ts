import { BlockPool, type LaneKind } from "./block-pool.js";
import type { Architecture } from "./manifest.js";
import { blockOrderParts, maxPartBlocks } from "./tensor-names.js";

export type { LaneKind } from "./block-pool.js";

/** Tokens of one block. Short contexts want small ones, the native products long ones (docs/performance.md). */
export const blockTokens = 128;

/**
 * Chunks of prompts get slots by whole vectors: onnxruntime adds up a row of weights with two accumulators of 16 floats
 * at most, and zeros behind a token's own weights change none of them, where a shorter row would be added up otherwise.
 */
const chunkVector = 32;

/** One cached pass over one sequence. Owned by the sequence that allocated it until it is released. */
export interface Lane<Kind extends LaneKind = LaneKind> {
  readonly kind: Kind;
  /** Tokens whose keys and values are cached. */
  readonly computed: number;
}

interface OwnedLane extends Lane {
  computed: number;
  /** Positions in the pool, in the order of the lane's tokens. */
  readonly blocks: number[];
  released: boolean;
}

/** The past of a forward's rows, as the decoder graph takes it. */
export interface Past {
  /** P */
  readonly blocks: number;
  /** S */
  readonly slots: number;
  /** float32 [P,1,1,S] */
  readonly mask: Float32Array;
  /** int64 [P] */
  readonly blockRows: BigInt64Array;
  /** As many lists of blocks as the graph takes. */
  readonly orders: readonly BigInt64Array[];
  /** The blocks that guessed tokens lie in; empty where there are none. */
  readonly open: OpenPast;
  /**
   * One layer as [P,KV,S,Hd]: a view where the blocks lie, or a copy of them all one behind another (see who makes it).
   * Valid until the next call of any layer's, and until the cache changes.
   */
  layOut(layer: number): { readonly key: Float32Array; readonly value: Float32Array };
}

export interface OpenPast {
  /** int64 [O] */
  readonly blocks: BigInt64Array;
  /** int64 [O,T,KV,3] */
  readonly slots: BigInt64Array;
  /** float32 [O,T,S] */
  readonly mask: Float32Array;
}

/** What the chunks of prompts of a forward begin with, and what their new tokens see of them. */
export interface ChunkPast {
  /** C */
  readonly rows: number;
  /** F */
  readonly tokens: number;
  /** B */
  readonly slots: number;
  /** float32 [2·L,C,KV,F,Hd]; valid until the next call. */
  readonly keyValues: Float32Array;
  /** float32 [C,T,B] */
  readonly mask: Float32Array;
}

/** In a forward without chunks. */
export const noChunks: ChunkPast = {
  rows: 0,
  tokens: 0,
  slots: 0,
  keyValues: new Float32Array(0),
  mask: new Float32Array(0),
};

const nothingOpen: OpenPast = {
  blocks: new BigInt64Array(0),
  slots: new BigInt64Array(0),
  mask: new Float32Array(0),
};

/**
 * Key/value rows of all lanes, in blocks of `blockTokens`: two Float32Arrays a layer, [positions, KV, 128, Hd], read in
 * place by the forward and written only at new rows. A lane takes a block when it needs one, so memory follows what is
 * cached and a lane never moves as it grows; a block moves when too many holes have opened between those in use.
 */
export class KvCache {
  readonly #layers: number;
  readonly #kvHeads: number;
  readonly #headDim: number;
  /** Lists of blocks that the graph adds up, and how long each may be. */
  readonly #orderParts: number;
  readonly #maxPartBlocks: number;
  readonly #pool = new BlockPool();
  readonly #lanes = new Set<OwnedLane>();
  readonly #owners = new Map<number, { readonly lane: OwnedLane; readonly ordinal: number }>();
  /** Positions that the arrays have room for on either side of the middle. */
  readonly #room: Record<LaneKind, number> = { bottomUp: 0, steered: 0 };
  readonly #keys: Float32Array[] = [];
  readonly #values: Float32Array[] = [];
  #mostBlocks = Number.POSITIVE_INFINITY;
  /** Where blocks are laid out one behind another for rows of several tokens; [KV,S,Hd] a row and layer. */
  #scratch: { keys: Float32Array[]; values: Float32Array[] } = { keys: [], values: [] };
  #chunkScratch = new Float32Array(0);

  /** @param orderParts how many lists of blocks the graph takes. */
  constructor(architecture: Architecture, orderParts = blockOrderParts(architecture.heads * architecture.headDim)) {
    this.#layers = architecture.layers;
    this.#kvHeads = architecture.kvHeads;
    this.#headDim = architecture.headDim;
    this.#orderParts = orderParts;
    this.#maxPartBlocks = maxPartBlocks(architecture.heads * architecture.headDim);
  }

  get lanesInUse(): number {
    return this.#lanes.size;
  }

  /** Blocks that lanes hold now. */
  get blocksInUse(): number {
    return this.#pool.taken;
  }

  /** Bytes that the arrays of all layers have: room for blocks in use, and for some more. */
  get arrayBytes(): number {
    return (this.#room.bottomUp + this.#room.steered) * this.blockBytes;
  }

  /**
   * Says how many blocks lanes are to have at most, so that there is no room for more where it is not needed; a
   * sequence alone may take more all the same.
   */
  expectBlocks(most: number): void {
    this.#mostBlocks = most;
  }

  /** Bytes of one block, all layers. */
  get blockBytes(): number {
    return 2 * this.#layers * this.#blockSize() * Float32Array.BYTES_PER_ELEMENT;
  }

  /**
   * Blocks of past that the graph adds up in one forward; a row with more of its own gets them laid out as one.
   * @param newTokens of a row, each of which adds up all blocks of the row
   */
  maxBlocksPerForward(newTokens: number): number {
    return this.#orderParts * Math.floor(this.#maxPartBlocks / newTokens);
  }

  allocate<Kind extends LaneKind>(kind: Kind): Lane<Kind> {
    const lane: OwnedLane & Lane<Kind> = { kind, computed: 0, blocks: [], released: false };
    this.#lanes.add(lane);
    return lane;
  }

  /** The lane must not be used afterwards. */
  release(lane: Lane): void {
    const owned = this.#owned(lane);
    for (const position of owned.blocks.splice(0)) {
      this.#owners.delete(position);
      this.#pool.give(position);
    }
    owned.released = true;
    this.#lanes.delete(owned);
    this.#compact(owned.kind);
    this.#giveRoomBack(owned.kind);
  }

  /** Where a lane that has reserved a block begins in the pool, of which a forward reads a range as it lies. */
  firstBlock(lane: Lane): number {
    const [first] = this.#owned(lane).blocks;
    if (first === undefined) throw new Error(`a ${lane.kind} lane has no block`);
    return first;
  }

  /** Blocks that a lane has to take before `newTokens` more tokens fit. */
  blocksMissing(lane: Lane, newTokens: number): number {
    const owned = this.#owned(lane);
    return Math.max(0, blocksOf(owned.computed + newTokens) - owned.blocks.length);
  }

  /** Takes the blocks that `newTokens` more tokens of a lane need. */
  reserve(lane: Lane, newTokens: number): void {
    const owned = this.#owned(lane);
    for (let missing = this.blocksMissing(lane, newTokens); missing > 0; missing--) {
      const position = this.#pool.take(owned.kind);
      this.#owners.set(position, { lane: owned, ordinal: owned.blocks.length });
      owned.blocks.push(position);
    }
    this.#makeRoom(owned.kind);
  }

  /** How many guesses may stand behind a lane's next token: all have to lie in its block. */
  roomForGuesses(lane: Lane): number {
    const { computed } = this.#owned(lane);
    const listed = Math.ceil(blocksOf(computed) / this.#orderParts);
    const mostTokens = Math.floor(this.#maxPartBlocks / Math.max(1, listed));
    return Math.max(0, Math.min(blockTokens - (computed % blockTokens), mostTokens) - 1);
  }

  /**
   * The past of rows that bring one token each, or one and guesses of those behind it: a range of the pool as it lies.
   * @param lanes distinct; together they hold at most `maxBlocksPerForward(newTokens)` blocks.
   */
  pastInPlace(lanes: readonly Lane[], newTokens: number): Past {
    const owned = lanes.map((lane) => this.#owned(lane));
    const guesses = newTokens > 1;
    const positions = owned.flatMap((lane) =>
      lane.blocks.slice(0, blocksOf(guesses ? lane.computed + newTokens : lane.computed)),
    );
    const first = positions.length === 0 ? 0 : Math.min(...positions);
    const blocks = positions.length === 0 ? 0 : Math.max(...positions) - first + 1;
    const mask = new Float32Array(blocks * blockTokens).fill(Number.NEGATIVE_INFINITY);
    const blockRows = new BigInt64Array(blocks);
    const order: bigint[] = [];
    for (const [row, lane] of owned.entries()) {
      for (const [ordinal, position] of lane.blocks.slice(0, blocksOf(lane.computed)).entries()) {
        const block = position - first;
        blockRows[block] = BigInt(row);
        if (guesses && (ordinal + 1) * blockTokens > lane.computed) continue;
        const filled = Math.min(blockTokens, lane.computed - ordinal * blockTokens);
        mask.fill(0, block * blockTokens, block * blockTokens + filled);
        order.push(BigInt(block));
      }
    }
    const from = (first + this.#room.bottomUp) * this.#blockSize();
    const to = from + blocks * this.#blockSize();
    return {
      blocks,
      slots: blockTokens,
      mask,
      blockRows,
      orders: inParts(order, this.#orderParts, Math.floor(this.#maxPartBlocks / newTokens)),
      open: guesses ? this.#openPast(owned, newTokens, first) : nothingOpen,
      layOut: (layer) => ({
        key: layerOf(this.#keys, layer).subarray(from, to),
        value: layerOf(this.#values, layer).subarray(from, to),
      }),
    };
  }

  /** @param first position of the forward's block 0 */
  #openPast(lanes: readonly OwnedLane[], newTokens: number, first: number): OpenPast {
    const blocks = new BigInt64Array(lanes.length);
    const slots = new BigInt64Array(lanes.length * newTokens * this.#kvHeads * 3);
    const mask = new Float32Array(lanes.length * newTokens * blockTokens).fill(Number.NEGATIVE_INFINITY);
    let at = 0;
    for (const [row, lane] of lanes.entries()) {
      const filled = lane.computed % blockTokens;
      const position = lane.blocks[Math.floor(lane.computed / blockTokens)];
      if (position === undefined || filled + newTokens > blockTokens) {
        throw new Error(`${newTokens} tokens behind ${lane.computed} do not lie in one block`);
      }
      blocks[row] = BigInt(position - first);
      for (let token = 0; token < newTokens; token++) {
        const start = (row * newTokens + token) * blockTokens;
        mask.fill(0, start, start + filled + token);
        for (let head = 0; head < this.#kvHeads; head++) {
          slots[at++] = BigInt(row);
          slots[at++] = BigInt(head);
          slots[at++] = BigInt(filled + token);
        }
      }
    }
    return { blocks, slots, mask };
  }

  /**
   * The past of rows that bring several tokens each, or of a row with more blocks than a forward adds up: copied
   * together, one long block a row. Beside the products of so many tokens the copy is small.
   * @param part all of it, or without the tokens of a block that is not full (see `chunkPast`).
   */
  pastLaidOut(lanes: readonly Lane[], part: "all" | "fullBlocks" = "all"): Past {
    const owned = lanes.map((lane) => this.#owned(lane));
    const lengths = owned.map(({ computed }) => (part === "all" ? computed : computed - (computed % blockTokens)));
    const slots = blocksOf(Math.max(...lengths)) * blockTokens;
    const blocks = slots === 0 ? 0 : owned.length;
    const size = blocks * this.#kvHeads * slots * this.#headDim;
    const mask = new Float32Array(blocks * slots).fill(Number.NEGATIVE_INFINITY);
    for (const [row, length] of lengths.entries()) mask.fill(0, row * slots, row * slots + length);
    for (const arrays of [this.#scratch.keys, this.#scratch.values]) {
      for (let layer = 0; layer < this.#layers; layer++) {
        if ((arrays[layer]?.length ?? -1) < size) arrays[layer] = new Float32Array(size);
      }
    }
    const copied = (from: readonly Float32Array[], to: readonly Float32Array[], layer: number): Float32Array => {
      const target = layerOf(to, layer);
      for (const [row, lane] of owned.entries()) {
        this.#eachRun(lane, 0, lengths[row] as number, (source, head, token, count) => {
          const start = ((row * this.#kvHeads + head) * slots + token) * this.#headDim;
          target.set(layerOf(from, layer).subarray(source, source + count * this.#headDim), start);
        });
      }
      return target.subarray(0, size);
    };
    const rows = Array.from({ length: blocks }, (_, row) => BigInt(row));
    return {
      blocks,
      slots,
      mask,
      blockRows: BigInt64Array.from(rows),
      orders: inParts(rows, this.#orderParts, Math.max(1, rows.length)),
      open: nothingOpen,
      layOut: (layer) => ({
        key: copied(this.#keys, this.#scratch.keys, layer),
        value: copied(this.#values, this.#scratch.values, layer),
      }),
    };
  }

  /**
   * What the block that `newTokens` more tokens of each lane begin in holds already. A chunk of a prompt sees it as it
   * would have seen it had all come at once, so its tokens get the same bits.
   * @param lanes alike in how many tokens that are.
   */
  chunkPast(lanes: readonly Lane[], newTokens: number): ChunkPast {
    const owned = lanes.map((lane) => this.#owned(lane));
    const tokens = (owned[0]?.computed ?? 0) % blockTokens;
    const slots = Math.ceil((tokens + newTokens) / chunkVector) * chunkVector;
    const rows = owned.length;
    const mask = new Float32Array(rows * newTokens * slots).fill(Number.NEGATIVE_INFINITY);
    for (let at = 0; at < rows * newTokens; at++) mask.fill(0, at * slots, at * slots + tokens + (at % newTokens) + 1);
    const rowSize = this.#kvHeads * tokens * this.#headDim;
    const size = 2 * this.#layers * rows * rowSize;
    if (this.#chunkScratch.length < size) this.#chunkScratch = new Float32Array(size);
    const keyValues = this.#chunkScratch.subarray(0, size);
    for (const [row, lane] of owned.entries()) {
      if (lane.computed % blockTokens !== tokens) throw new Error("chunks of one forward begin alike in their blocks");
      this.#eachCopied(lane, lane.computed - tokens, tokens, (array, inArray, inCopy, length) => {
        const part = Math.floor(inCopy / rowSize);
        keyValues.set(array.subarray(inArray, inArray + length), inCopy + (part * (rows - 1) + row) * rowSize);
      });
    }
    return { rows, tokens, slots, keyValues, mask };
  }

  /**
   * Writes T new rows of one layer behind each lane's computed tokens (which `advance` counts once all layers are
   * written).
   * @param lanes whose the R rows are in `newKeys` and `newValues`, both [R,KV,T,Hd].
   */
  write(
    lanes: readonly Lane[],
    layer: number,
    newTokens: number,
    newKeys: Float32Array,
    newValues: Float32Array,
  ): void {
    const keys = layerOf(this.#keys, layer);
    const values = layerOf(this.#values, layer);
    const width = this.#headDim;
    for (const [row, lane] of lanes.entries()) {
      const owned = this.#owned(lane);
      if (newTokens === 1) {
        // A head's few numbers by hand: at one token a row, the views that `set` needs would cost more than what they
        // copy.
        let source = row * this.#kvHeads * width;
        let target = this.#startOf(owned, owned.computed);
        for (let head = 0; head < this.#kvHeads; head++) {
          for (let i = 0; i < width; i++) {
            keys[target + i] = newKeys[source + i] as number;
            values[target + i] = newValues[source + i] as number;
          }
          source += width;
          target += blockTokens * width;
        }
        continue;
      }
      this.#eachRun(owned, owned.computed, newTokens, (target, head, token, count) => {
        const source = ((row * this.#kvHeads + head) * newTokens + token - owned.computed) * width;
        keys.set(newKeys.subarray(source, source + count * width), target);
        values.set(newValues.subarray(source, source + count * width), target);
      });
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

  /** Numbers that `copyOut` gives for `tokens` tokens. */
  copySize(tokens: number): number {
    return 2 * this.#layers * this.#kvHeads * tokens * this.#headDim;
  }

  /**
   * @returns keys and values of the lane's tokens `from` … `from + tokens − 1`, float32 [L,2,KV,tokens,Hd]; the
   * caller's own.
   */
  copyOut(lane: Lane, from: number, tokens: number): Float32Array {
    const copy = new Float32Array(this.copySize(tokens));
    this.#eachCopied(this.#owned(lane), from, tokens, (array, inArray, inCopy, length) =>
      copy.set(array.subarray(inArray, inArray + length), inCopy),
    );
    return copy;
  }

  /**
   * Appends the first `tokens` of `copiedTokens` tokens that `copyOut` gave, as if the lane had computed them.
   * @param copy float32 [L,2,KV,copiedTokens,Hd]
   */
  copyIn(lane: Lane, copy: Float32Array, tokens: number, copiedTokens: number): void {
    const owned = this.#owned(lane);
    this.reserve(lane, tokens);
    this.#eachCopied(
      owned,
      owned.computed,
      tokens,
      (array, inArray, inCopy, length) => array.set(copy.subarray(inCopy, inCopy + length), inArray),
      copiedTokens,
    );
    owned.computed += tokens;
  }

  /** What is wrong with the bookkeeping, as sentences; empty when all is well. */
  violations(): string[] {
    const found: string[] = [];
    let held = 0;
    for (const lane of this.#lanes) {
      held += lane.blocks.length;
      if (lane.computed > lane.blocks.length * blockTokens) {
        found.push(`a ${lane.kind} lane claims ${lane.computed} tokens in ${lane.blocks.length} blocks`);
      }
      for (const [ordinal, position] of lane.blocks.entries()) {
        const owner = this.#owners.get(position);
        if (owner?.lane !== lane || owner.ordinal !== ordinal || !this.#pool.isTaken(position)) {
          found.push(`block ${position} is held as block ${ordinal} of a ${lane.kind} lane that does not own it`);
        }
      }
    }
    if (held !== this.#pool.taken) found.push(`${this.#pool.taken} blocks are taken, the lanes hold ${held}`);
    return found;
  }

  #blockSize(): number {
    return this.#kvHeads * blockTokens * this.#headDim;
  }

  #owned(lane: Lane): OwnedLane {
    const owned = lane as OwnedLane;
    if (owned.released || !this.#lanes.has(owned)) throw new Error(`a released ${lane.kind} lane was used`);
    return owned;
  }

  /**
   * Calls `visit` for each run of `count` tokens of one head that lies together: its start in a layer's array, head and
   * first token.
   */
  #eachRun(
    lane: OwnedLane,
    from: number,
    tokens: number,
    visit: (start: number, head: number, token: number, count: number) => void,
  ): void {
    for (let token = from; token < from + tokens; ) {
      const count = Math.min(blockTokens - (token % blockTokens), from + tokens - token);
      const start = this.#startOf(lane, token);
      for (let head = 0; head < this.#kvHeads; head++) {
        visit(start + head * blockTokens * this.#headDim, head, token, count);
      }
      token += count;
    }
  }

  /** Where a token's first head lies in a layer's array; the others follow `blockTokens` rows apart. */
  #startOf(lane: OwnedLane, token: number): number {
    const position = lane.blocks[Math.floor(token / blockTokens)];
    if (position === undefined) throw new Error(`a ${lane.kind} lane has no block for token ${token}`);
    return (position + this.#room.bottomUp) * this.#blockSize() + (token % blockTokens) * this.#headDim;
  }

  #eachCopied(
    lane: OwnedLane,
    from: number,
    tokens: number,
    visit: (array: Float32Array, inArray: number, inCopy: number, length: number) => void,
    copiedTokens = tokens,
  ): void {
    for (let layer = 0; layer < this.#layers; layer++) {
      for (const [part, arrays] of [this.#keys, this.#values].entries()) {
        this.#eachRun(lane, from, tokens, (start, head, token, count) => {
          const row = ((2 * layer + part) * this.#kvHeads + head) * copiedTokens + token - from;
          visit(layerOf(arrays, layer), start, row * this.#headDim, count * this.#headDim);
        });
      }
    }
  }

  /** Doubles the arrays' room on a side that has outgrown it, as far as lanes are to have blocks. */
  #makeRoom(kind: LaneKind): void {
    const extent = this.#pool.extent(kind);
    const room = this.#room[kind];
    if (extent <= room) return;
    // A sequence that may have more than all together does not copy everything with each block either.
    const beyond = Math.ceil(extent * 1.25);
    this.#layOut(kind, extent > this.#mostBlocks ? beyond : Math.max(4, extent, Math.min(2 * room, this.#mostBlocks)));
  }

  /** Halves the room of a side that hardly uses it, where it is a large part of what there is. */
  #giveRoomBack(kind: LaneKind): void {
    const room = this.#room[kind];
    if (room > this.#mostBlocks / 4 && room >= 8 && this.#pool.extent(kind) < room / 4) {
      this.#layOut(kind, Math.ceil(room / 2));
    }
  }

  /** Lays all layers out anew, with another room on one side. */
  #layOut(kind: LaneKind, room: number): void {
    const before = { ...this.#room };
    this.#room[kind] = room;
    const size = this.#blockSize();
    const kept = (side: LaneKind) => Math.min(this.#pool.extent(side), before[side], this.#room[side]);
    const from = (before.bottomUp - kept("bottomUp")) * size;
    const to = (before.bottomUp + kept("steered")) * size;
    const start = (this.#room.bottomUp - kept("bottomUp")) * size;
    // Array by array, so that the old ones go meanwhile.
    for (const arrays of [this.#keys, this.#values]) {
      for (let layer = 0; layer < this.#layers; layer++) {
        const array = new Float32Array((this.#room.bottomUp + this.#room.steered) * size);
        const old = arrays[layer];
        if (old !== undefined) array.set(old.subarray(from, to), start);
        arrays[layer] = array;
      }
    }
  }

  #compact(kind: LaneKind): void {
    const size = this.#blockSize();
    for (const { from, to } of this.#pool.compact(kind)) {
      const owner = this.#owners.get(from);
      if (owner === undefined) throw new Error(`block ${from} is taken by nobody`);
      owner.lane.blocks[owner.ordinal] = to;
      this.#owners.delete(from);
      this.#owners.set(to, owner);
      const start = (from + this.#room.bottomUp) * size;
      for (const arrays of [this.#keys, this.#values]) {
        for (const array of arrays) array.copyWithin((to + this.#room.bottomUp) * size, start, start + size);
      }
    }
  }
}

/** Blocks that hold so many tokens. */
export function blocksOf(tokens: number): number {
  return Math.ceil(tokens / blockTokens);
}

/** `order` cut into `parts` lists of at most `longest`. @throws Error when it does not fit. */
function inParts(order: readonly bigint[], parts: number, longest: number): BigInt64Array[] {
  if (order.length > parts * longest) {
    throw new Error(`${order.length} blocks in one forward, ${parts * longest} at most`);
  }
  return Array.from({ length: parts }, (_, part) =>
    BigInt64Array.from(order.slice(part * longest, (part + 1) * longest)),
  );
}

function layerOf(arrays: readonly Float32Array[], layer: number): Float32Array {
  const array = arrays[layer];
  if (array === undefined) throw new Error(`the cache has no layer ${layer}`);
  return array;
}
