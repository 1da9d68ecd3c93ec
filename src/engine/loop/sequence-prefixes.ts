import { blockTokens, type KvCache, type Lane } from "../../model/kv-cache.js";
import type { HiddenStates } from "../../steering/hidden-states.js";
import type { VectorStack } from "../../steering/vector-stack.js";
import type { AdmittedRequest, EngineLimits } from "./admission.js";
import { PrefixCache, type PrefixKey } from "./prefix-cache.js";
import type { RunningSequence } from "./running-sequence.js";

/**
 * Where a hit may end in the chunk of a prompt, in tokens, so that the rest of the chunk gets the same bits. A multiple
 * of two, since kernels of 4-bit products take rows in pairs.
 */
const resumeTokens = 16;

type PrefixLimits = Pick<EngineLimits, "cacheBytes" | "prefixBytes" | "chunkTokens">;

/** What sequences take over from those before them that began with the same tokens, lane by lane. */
export class SequencePrefixes {
  readonly #cache: KvCache;
  readonly #limits: PrefixLimits;
  readonly #prefixes: PrefixCache;

  /** @param resumesChunks see Decoder; where it does not, a hit in a prompt ends with a block. */
  constructor(cache: KvCache, limits: PrefixLimits, resumesChunks: boolean) {
    const { prefixBytes, chunkTokens } = limits;
    // What is behind a hit must be computed as it was the first time: in chunks that begin where they did.
    if (prefixBytes > 0 && blockTokens % chunkTokens !== 0) {
      throw new Error(`chunks of ${chunkTokens} tokens do not end where blocks of ${blockTokens} do`);
    }
    this.#cache = cache;
    this.#limits = limits;
    this.#prefixes = new PrefixCache(cache, resumesChunks ? resumeTokens : blockTokens);
  }

  get bytes(): number {
    return this.#prefixes.bytes;
  }

  /** Gives up what was used longest ago. */
  shrinkTo(bytes: number): void {
    this.#prefixes.shrinkTo(bytes);
  }

  /** Drops what lanes steered by the adapter of this key have left. */
  forgetAdapter(key: string): void {
    this.#prefixes.forget((prefix) => isSteeredBy(prefix, key));
  }

  /**
   * Fills a fresh sequence's lanes with what is kept of its tokens; the last one is computed in any case, for its
   * logits.
   * @returns tokens that neither lane computes again.
   */
  restore({ sequence, lanes, hiddenStates }: RunningSequence): number {
    const { request, tokenIds, group } = sequence;
    const tokens = { tokenIds, prompt: request.promptIds.length };
    const most = Math.min(group.mostRestored, tokenIds.length - 1);
    switch (lanes.kind) {
      case "plain": {
        const hit = this.#prefixes.find(bottomUpPrefix, tokens, most);
        this.#prefixes.restore(hit, lanes.bottomUp, hiddenStates);
        return hit.tokens;
      }
      case "vectors": {
        const hit = this.#prefixes.find(vectorsPrefix(lanes.stack), tokens, most);
        this.#prefixes.restore(hit, lanes.steered, null);
        return hit.tokens;
      }
      case "steered": {
        const bottomUp = this.#prefixes.find(bottomUpPrefix, tokens, tokenIds.length - 1);
        // A steered lane never is ahead of its bottom-up lane.
        const behind = Math.min(most, bottomUp.tokens);
        const steered = this.#prefixes.find(steeredPrefix(request, lanes), tokens, behind);
        this.#prefixes.restore(steered, lanes.steered, null);
        this.#prefixes.restore(bottomUp, lanes.bottomUp, hiddenStates);
        return steered.tokens;
      }
    }
  }

  /** Keeps what a sequence has computed, as far as there is room beside the lanes in use. */
  remember({ sequence, lanes, hiddenStates }: RunningSequence): void {
    const { request, tokenIds } = sequence;
    const { cacheBytes, prefixBytes } = this.#limits;
    const free = cacheBytes - this.#cache.blocksInUse * this.#cache.blockBytes;
    const maxBytes = Math.min(prefixBytes, Math.max(0, free));
    if (maxBytes === 0) return;
    const keep = (key: PrefixKey, lane: Lane, states: HiddenStates | null) => {
      const computed = Math.min(lane.computed, tokenIds.length);
      const tokens = { tokenIds, prompt: request.promptIds.length, computed };
      this.#prefixes.remember(key, tokens, lane, states, maxBytes);
    };
    if (lanes.kind === "vectors") {
      keep(vectorsPrefix(lanes.stack), lanes.steered, null);
      return;
    }
    keep(bottomUpPrefix, lanes.bottomUp, hiddenStates);
    if (lanes.kind === "steered") keep(steeredPrefix(request, lanes), lanes.steered, null);
  }
}

/**
 * Bottom-up lanes are everybody's; steered ones depend on the adapter, on how strongly it steers each layer, and on
 * what the control vectors add, whatever they are called.
 */
const bottomUpPrefix: PrefixKey = "bottomUp";

function vectorsPrefix({ key }: VectorStack): PrefixKey {
  return `vectors ${key}`;
}

export function steeredPrefix(
  { steering }: Pick<AdmittedRequest, "steering">,
  { gains, stack }: { readonly gains: Float32Array; readonly stack: VectorStack | null },
): PrefixKey {
  if (steering.kind !== "steered") throw new Error("a request without an adapter has no steered lane beside another");
  const added = stack === null ? "" : ` ${vectorsPrefix(stack)}`;
  return `${prefixOf(steering.adapter)}${gains.join(" ")}${added}`;
}

export function isSteeredBy(key: PrefixKey, adapter: string): boolean {
  return key.startsWith(prefixOf(adapter));
}

/** No adapter's key holds a space. */
function prefixOf(adapter: string): string {
  return `steered ${adapter} `;
}
