import { stat } from "node:fs/promises";
import { readKeyFile } from "./key-file.js";
import { hashKey, KeyRing, type KeyRole, type StoredKey } from "./key-ring.js";

export interface ApiKeysOptions {
  /** Keys in plain text, of flags and environment; only their hashes are kept. */
  readonly userKeys: readonly string[];
  readonly adminKeys: readonly string[];
  readonly file: string | null;
  /** How old the look at the file may be. Default: a second, so a revoked key is refused a second later. */
  readonly maxAgeMs?: number;
  readonly onReload?: (keys: number) => void;
  /** The file has become unreadable; the keys of before stay in force. */
  readonly onError?: (error: unknown) => void;
}

/**
 * The keys that are valid now: those given at start, and those of a file that is read again when it changes. The file
 * is looked at when a request comes, not watched: watchers miss the swapped links of mounted secrets.
 */
export class ApiKeys {
  readonly #options: ApiKeysOptions;
  readonly #given: readonly StoredKey[];
  #ring: KeyRing;
  #seen = "";
  #lookedAt = Number.NEGATIVE_INFINITY;
  #look: Promise<void> | null = null;

  /** With the keys of the options alone; the file's come with {@link open}, or with the first look at it. */
  constructor(options: ApiKeysOptions) {
    this.#options = options;
    this.#given = [...named(options.userKeys, "user"), ...named(options.adminKeys, "admin")];
    this.#ring = new KeyRing(this.#given);
  }

  /** @throws ToastError `file_missing`, `invalid_config`: a server whose keys cannot be read does not start. */
  static async open(options: ApiKeysOptions): Promise<ApiKeys> {
    const keys = new ApiKeys(options);
    if (options.file !== null) {
      keys.#seen = await versionOf(options.file);
      keys.#lookedAt = performance.now();
      keys.#take(await readKeyFile(options.file));
    }
    return keys;
  }

  /**
   * Whether requests need a key at all. An empty file still closes the server: revoking the last key must not open it.
   */
  get required(): boolean {
    return this.#given.length > 0 || this.#options.file !== null;
  }

  get hasAdmin(): boolean {
    return this.#ring.hasAdmin;
  }

  async current(): Promise<KeyRing> {
    const { file, maxAgeMs = 1_000 } = this.#options;
    if (file !== null && performance.now() - this.#lookedAt >= maxAgeMs) {
      this.#look ??= this.#lookAt(file).finally(() => {
        this.#look = null;
      });
      await this.#look;
    }
    return this.#ring;
  }

  async #lookAt(file: string): Promise<void> {
    this.#lookedAt = performance.now();
    const version = await versionOf(file);
    if (version === this.#seen) return;
    this.#seen = version;
    try {
      const keys = await readKeyFile(file);
      this.#take(keys);
      this.#options.onReload?.(keys.length);
    } catch (error) {
      this.#options.onError?.(error);
    }
  }

  #take(keys: readonly StoredKey[]): void {
    this.#ring = new KeyRing([...this.#given, ...keys]);
  }
}

/** Changes with every replacement of the file and every write to it. */
async function versionOf(file: string): Promise<string> {
  const stats = await stat(file, { bigint: true }).catch(() => null);
  return stats === null ? "missing" : `${stats.ino} ${stats.size} ${stats.mtimeNs}`;
}

function named(keys: readonly string[], role: KeyRole): StoredKey[] {
  const created = new Date().toISOString();
  return keys.map((key, index) => ({ name: `given ${role} key ${index + 1}`, role, sha256: hashKey(key), created }));
}
