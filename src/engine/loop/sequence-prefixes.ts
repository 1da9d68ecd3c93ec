import { blockTokens, type KvCache } from "../../model/kv-cache.js";
import type { AdmittedRequest, EngineLimits } from "./admission.js";
import { PrefixCache, type PrefixKey } from "./prefix-cache.js";
import type { RunningSequence } from "./running-sequence.js";

type PrefixLimits = Pick<EngineLimits, "cacheBytes" | "prefixBytes" | "chunkTokens">;

/** What sequences take over from those before them that began with the same tokens, lane by lane. */
export class SequencePrefixes {
  readonly #cache: KvCache;
  readonly #limits: PrefixLimits;
  readonly #prefixes: PrefixCache;

  constructor(cache: KvCache, limits: PrefixLimits) {
    const { prefixBytes, chunkTokens } = limits;
    // A hit ends with a block. What is behind it must be computed as it was the first time: from a chunk's beginning.
    if (prefixBytes > 0 && blockTokens % chunkTokens !== 0) {
      throw new Error(`chunks of ${chunkTokens} tokens do not end where blocks of ${blockTokens} do`);
    }
    this.#cache = cache;
    this.#limits = limits;
    this.#prefixes = new PrefixCache(cache);
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
    // Logits are not kept: a lane that has to give those of all tokens computes all tokens.
    const needsLogits = group.needsPromptLogits;
    const most = needsLogits && lanes.kind === "plain" ? 0 : tokenIds.length - 1;
    const bottomUp = this.#prefixes.find(bottomUpPrefix, tokenIds, most);
    let reused = bottomUp.tokens;
    if (lanes.kind === "steered") {
      // A steered lane never is ahead of its bottom-up lane.
      const most = needsLogits ? 0 : bottomUp.tokens;
      const steered = this.#prefixes.find(steeredPrefix(request, lanes.gains), tokenIds, most);
      this.#prefixes.restore(steered, lanes.steered, null);
      reused = steered.tokens;
    }
    this.#prefixes.restore(bottomUp, lanes.bottomUp, hiddenStates);
    return reused;
  }

  /** Keeps what a sequence has computed, as far as there is room beside the lanes in use. */
  remember({ sequence, lanes, hiddenStates }: RunningSequence): void {
    const { request, tokenIds } = sequence;
    const { cacheBytes, prefixBytes } = this.#limits;
    const free = cacheBytes - this.#cache.blocksInUse * this.#cache.blockBytes;
    const maxBytes = Math.min(prefixBytes, Math.max(0, free));
    if (maxBytes === 0) return;
    const computed = (tokens: number) => ({
      tokenIds,
      prompt: request.promptIds.length,
      computed: Math.min(tokens, tokenIds.length),
    });
    this.#prefixes.remember(bottomUpPrefix, computed(lanes.bottomUp.computed), lanes.bottomUp, hiddenStates, maxBytes);
    if (lanes.kind === "plain") return;
    this.#prefixes.remember(
      steeredPrefix(request, lanes.gains),
      computed(lanes.steered.computed),
      lanes.steered,
      null,
      maxBytes,
    );
  }
}

/** Bottom-up lanes are everybody's; steered ones depend on the adapter and on how strongly each layer is steered. */
const bottomUpPrefix: PrefixKey = "bottomUp";

export function steeredPrefix({ steering }: Pick<AdmittedRequest, "steering">, gains: Float32Array): PrefixKey {
  if (steering.kind === "plain") throw new Error("a plain request has no steered lane");
  return `${prefixOf(steering.adapter)}${gains.join(" ")}`;
}

export function isSteeredBy(key: PrefixKey, adapter: string): boolean {
  return key.startsWith(prefixOf(adapter));
}

/** No adapter's key holds a space. */
function prefixOf(adapter: string): string {
  return `steered ${adapter} `;
}
