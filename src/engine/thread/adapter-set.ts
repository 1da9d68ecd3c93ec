import type { Adapter } from "../../steering/adapter.js";
import type { ChatTemplate } from "../../text/chat-template.js";
import type { AdapterInfo } from "../model-info.js";

/** One loading of an adapter. Another one of the same name, even of the same files, is another version. */
export interface AdapterVersion {
  /**
   * Unique among all versions ever: name, content hash, count. Steered prefixes belong to it, so no other version finds
   * them.
   */
  readonly key: string;
  readonly info: AdapterInfo;
  readonly adapter: Adapter;
  /** Its own or its backbone's; null: chat requests fail. */
  readonly template: ChatTemplate | null;
}

/** An adapter that is given up, and who waits for its end. */
interface Retiring {
  readonly version: AdapterVersion;
  readonly onReleased: () => void;
}

/** What the set asks of the engine loop. */
export interface AdapterUsers {
  /** Whether a waiting or running sequence is steered by it. */
  usesAdapter(key: string): boolean;
  /** Frees what is kept for later requests that it would have steered. */
  forgetAdapter(key: string): void;
}

/**
 * The adapters of one engine while they come and go: new requests see the current version of each name; one that is
 * unloaded or replaced stays in memory until the last sequence that it steers has ended. Knows no files.
 */
export class AdapterSet {
  readonly #current = new Map<string, AdapterVersion>();
  readonly #retiring = new Set<Retiring>();
  /** Everything in memory, by key: what the loop steers with. */
  readonly #loaded = new Map<string, Adapter>();
  #count = 0;

  /** By key; a live view. */
  get byKey(): ReadonlyMap<string, Adapter> {
    return this.#loaded;
  }

  /** The current ones, in the order in which they came. */
  get infos(): readonly AdapterInfo[] {
    return [...this.#current.values()].map(({ info }) => info);
  }

  find(name: string): AdapterVersion | undefined {
    return this.#current.get(name);
  }

  /** Makes it the current version of its name. @returns the version that had it, to be retired. */
  put(part: Omit<AdapterVersion, "key">): AdapterVersion | null {
    const key = `${part.info.name}@${part.info.fingerprint}.${this.#count++}`;
    const before = this.#current.get(part.info.name) ?? null;
    this.#current.set(part.info.name, { key, ...part });
    this.#loaded.set(key, part.adapter);
    return before;
  }

  /** New requests do not find it any more. @returns it, to be retired; null when there is none. */
  take(name: string): AdapterVersion | null {
    const version = this.#current.get(name) ?? null;
    this.#current.delete(name);
    return version;
  }

  /** Frees it once nobody uses it, at once or at a later `settle`. */
  retire(version: AdapterVersion, users: AdapterUsers, onReleased: () => void): void {
    this.#retiring.add({ version, onReleased });
    this.settle(users);
  }

  /** To be called whenever a sequence has ended. */
  settle(users: AdapterUsers): void {
    for (const retiring of [...this.#retiring]) {
      const { key, adapter } = retiring.version;
      if (users.usesAdapter(key)) continue;
      this.#retiring.delete(retiring);
      users.forgetAdapter(key);
      this.#loaded.delete(key);
      void adapter.release().finally(retiring.onReleased);
    }
  }

  /** Frees all of them; nothing may run any more. */
  async release(): Promise<void> {
    for (const adapter of this.#loaded.values()) await adapter.release();
    this.#loaded.clear();
  }
}
