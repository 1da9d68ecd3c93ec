import { blockTokens, type KvCache, type Lane } from "../../model/kv-cache.js";
import type { HiddenStates } from "../../steering/hidden-states.js";

/**
 * What a lane depends on besides its tokens: nothing for a bottom-up lane, which all requests share; adapter and gains
 * for a steered one.
 */
export type PrefixKey = string;

/** How a sequence's tokens were computed, as far as they were. */
export interface ComputedTokens {
  readonly tokenIds: readonly number[];
  /** The first so many were computed in chunks, the others one by one. */
  readonly prompt: number;
  readonly computed: number;
}

/** A cached beginning of some tokens. */
export interface PrefixHit {
  readonly tokens: number;
  readonly blocks: readonly { readonly block: PrefixBlock; readonly tokens: number }[];
}

/** Up to `blockTokens` tokens behind those of its parent. */
interface PrefixBlock {
  readonly parent: PrefixBlock | null;
  readonly root: Root;
  readonly tokenIds: readonly number[];
  /** float32 [L,2,KV,tokens,Hd] */
  readonly keyValues: Float32Array;
  /** float32 [tokens,D] of a bottom-up lane */
  readonly hiddenStates: Float32Array | null;
  /** So many of the tokens were of a prompt; behind them a hit may end anywhere: see PrefixCache. */
  readonly freeFrom: number;
  readonly children: Children;
  lastUsed: number;
}

/** Blocks that go on from one place, by their first token. */
type Children = Map<number, PrefixBlock[]>;
type Root = Children;

/**
 * Keys and values of sequences that are done with, for those that begin with the same tokens: a tree of blocks for each
 * kind of lane. Entries are copies, so a hit is copied into the new sequence's own lane and nothing is shared while it
 * is written to.
 *
 * A hit matches token ids exactly. In a prompt it ends at a multiple of `grain` tokens, from where a chunk goes on with
 * the arithmetic of the first time, so that what is left of a repeated prompt gets the same bits; or anywhere in what
 * was generated, which the next turn of a chat goes on from. Those tokens were computed one by one, and a prefill of
 * the same text would differ in the last bits.
 */
export class PrefixCache {
  readonly #cache: KvCache;
  readonly #grain: number;
  readonly #roots = new Map<PrefixKey, Root>();
  readonly #blocks = new Set<PrefixBlock>();
  #bytes = 0;
  #clock = 0;

  /** @param grain where in a block of a prompt a hit may end: at its multiples, of which a block's length is one. */
  constructor(cache: KvCache, grain: number) {
    this.#cache = cache;
    this.#grain = grain;
  }

  /** Held by the copies. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * The longest cached beginning of a sequence's tokens.
   * @param prompt tokens of its prompt, which are computed in chunks.
   * @param limit tokens of the hit at most.
   */
  find(key: PrefixKey, { tokenIds, prompt }: Omit<ComputedTokens, "computed">, limit: number): PrefixHit {
    const blocks: PrefixHit["blocks"][number][] = [];
    let children: Children | undefined = this.#roots.get(key);
    let tokens = 0;
    while (children !== undefined && tokens < limit) {
      let best: PrefixHit["blocks"][number] | null = null;
      for (const block of children.get(tokenIds[tokens] ?? -1) ?? []) {
        const common = commonTokens(block.tokenIds, tokenIds, tokens, limit);
        const usable = this.#usable(block, common, prompt - tokens);
        if (usable > (best?.tokens ?? 0)) best = { block, tokens: usable };
      }
      if (best === null) break;
      best.block.lastUsed = ++this.#clock;
      blocks.push(best);
      tokens += best.tokens;
      if (best.tokens < blockTokens) break;
      children = best.block.children;
    }
    return { tokens, blocks };
  }

  /** Fills an empty lane, and the hidden states of a bottom-up one, as if it had computed the tokens of the hit. */
  restore({ blocks }: PrefixHit, lane: Lane, hiddenStates: HiddenStates | null): void {
    for (const { block, tokens } of blocks) {
      const from = lane.computed;
      this.#cache.copyIn(lane, block.keyValues, tokens, block.tokenIds.length);
      if (hiddenStates === null || block.hiddenStates === null) continue;
      const size = block.hiddenStates.length / block.tokenIds.length;
      hiddenStates.set(from, block.hiddenStates.subarray(0, tokens * size));
    }
  }

  /**
   * Keeps what a lane has computed, as far as it is not kept already.
   * @param hiddenStates of a bottom-up lane; null for a steered one.
   * @param maxBytes for all copies; older ones are dropped for newer ones.
   */
  remember(
    key: PrefixKey,
    { tokenIds, prompt, computed }: ComputedTokens,
    lane: Lane,
    hiddenStates: HiddenStates | null,
    maxBytes: number,
  ): void {
    const root: Root = this.#roots.get(key) ?? new Map();
    this.#roots.set(key, root);
    let parent: PrefixBlock | null = null;
    for (let from = 0; from < computed; from += blockTokens) {
      const end = Math.min(from + blockTokens, computed);
      // Of a last piece of prompt, what a hit can end at.
      const ids = tokenIds.slice(from, prompt < end ? end : from + this.#wholeGrains(end - from));
      if (ids.length === 0) return;
      const freeFrom = Math.max(0, Math.min(prompt - from, ids.length));
      const children: Children = parent?.children ?? root;
      const siblings: PrefixBlock[] = children.get(ids[0] ?? -1) ?? [];
      const known: PrefixBlock | undefined = siblings.find(
        (block) =>
          commonTokens(block.tokenIds, ids, 0, ids.length) === ids.length &&
          (ids.length === freeFrom || ids.length === blockTokens || block.freeFrom <= freeFrom),
      );
      if (known !== undefined) {
        known.lastUsed = ++this.#clock;
        parent = known;
        continue;
      }
      const block: PrefixBlock = {
        parent,
        root,
        tokenIds: ids,
        keyValues: this.#cache.copyOut(lane, from, ids.length),
        hiddenStates: hiddenStates?.view(from, ids.length).slice() ?? null,
        freeFrom,
        children: new Map(),
        lastUsed: ++this.#clock,
      };
      children.set(ids[0] ?? -1, siblings);
      const before = [...siblings];
      siblings.push(block);
      // What the new block has more of is of no use any more.
      for (const old of before) if (isPartOf(old, block)) this.#drop(old);
      this.#blocks.add(block);
      this.#bytes += bytesOf(block);
      parent = block;
      if (this.shrinkTo(maxBytes, block)) continue;
      // Only what it goes on from is left.
      this.#drop(block);
      return;
    }
  }

  /**
   * Drops the least recently used blocks until at most `bytes` are held.
   * @param spared and what it goes on from are kept.
   * @returns whether that was enough.
   */
  shrinkTo(bytes: number, spared: PrefixBlock | null = null): boolean {
    while (this.#bytes > bytes) {
      let oldest: PrefixBlock | null = null;
      for (const block of this.#blocks) {
        if (block.children.size > 0 || block === spared) continue;
        if (oldest === null || block.lastUsed < oldest.lastUsed) oldest = block;
      }
      if (oldest === null) return false;
      this.#drop(oldest);
    }
    return true;
  }

  /** Drops all that is kept under the keys of which `isGone` is true. */
  forget(isGone: (key: PrefixKey) => boolean): void {
    const gone = new Set([...this.#roots].flatMap(([key, root]) => (isGone(key) ? [root] : [])));
    for (const block of [...this.#blocks]) {
      if (!gone.has(block.root)) continue;
      this.#blocks.delete(block);
      this.#bytes -= bytesOf(block);
    }
    for (const key of [...this.#roots.keys()]) if (isGone(key)) this.#roots.delete(key);
  }

  /**
   * How many of a block's first `common` tokens a hit may take.
   * @param ahead tokens of the prompt from the block's first on. Two have to be left of the chunk that goes on from the
   *   hit: onnxruntime has other kernels for a single row.
   */
  #usable({ tokenIds, freeFrom }: PrefixBlock, common: number, ahead: number): number {
    if (common === blockTokens && tokenIds.length === blockTokens) return common;
    return common > freeFrom ? common : this.#wholeGrains(Math.max(0, Math.min(common, ahead - 2)));
  }

  #wholeGrains(tokens: number): number {
    return tokens - (tokens % this.#grain);
  }

  /** A block without children. */
  #drop(block: PrefixBlock): void {
    const siblings = block.parent?.children ?? block.root;
    const first = block.tokenIds[0] ?? -1;
    const list = siblings.get(first) ?? [];
    list.splice(list.indexOf(block), 1);
    if (list.length === 0) siblings.delete(first);
    this.#blocks.delete(block);
    this.#bytes -= bytesOf(block);
  }
}

/** Whether `block` has all that childless `old` has. */
function isPartOf(old: PrefixBlock, block: PrefixBlock): boolean {
  return (
    old.children.size === 0 &&
    old.tokenIds.length <= block.tokenIds.length &&
    (old.freeFrom === old.tokenIds.length || old.freeFrom >= block.freeFrom) &&
    commonTokens(old.tokenIds, block.tokenIds, 0, old.tokenIds.length) === old.tokenIds.length
  );
}

/** Tokens that `block` and `tokenIds` from `from` on have in common, before `limit`. */
function commonTokens(block: readonly number[], tokenIds: readonly number[], from: number, limit: number): number {
  const most = Math.min(block.length, limit - from);
  for (let index = 0; index < most; index++) if (block[index] !== tokenIds[from + index]) return index;
  return Math.max(0, most);
}

function bytesOf({ keyValues, hiddenStates }: PrefixBlock): number {
  return keyValues.byteLength + (hiddenStates?.byteLength ?? 0);
}
