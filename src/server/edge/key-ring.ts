import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** `admin` may do all that `user` may, and change what is served. */
export const keyRoles = ["user", "admin"] as const;
export type KeyRole = (typeof keyRoles)[number];

/** A key as it is kept: the key itself is told once, to its owner. */
export interface StoredKey {
  readonly name: string;
  readonly role: KeyRole;
  /** Hex. */
  readonly sha256: string;
  /** ISO 8601. */
  readonly created: string;
}

/** @returns a new key: 256 random bits behind a prefix that secret scanners and people recognise. */
export function newKey(): string {
  return `sk-toast-${randomBytes(32).toString("base64url")}`;
}

/**
 * SHA-256, once and without salt. Slow hashes (scrypt, argon2) make up for the guessability of passwords; nobody
 * guesses 256 random bits at any speed, no table holds them, and a hash is computed for every request.
 */
export function hashKey(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

/** The keys of one moment. Knows no files and no HTTP. */
export class KeyRing {
  readonly #keys: readonly { readonly stored: StoredKey; readonly digest: Buffer }[];

  constructor(keys: readonly StoredKey[]) {
    this.#keys = keys.map((stored) => ({ stored, digest: Buffer.from(stored.sha256, "hex") }));
  }

  get hasAdmin(): boolean {
    return this.#keys.some(({ stored }) => stored.role === "admin");
  }

  /** Takes as long for every key of the same length, known or not: each is compared, in constant time. */
  find(key: string): StoredKey | null {
    const digest = Buffer.from(hashKey(key), "hex");
    let found: StoredKey | null = null;
    for (const candidate of this.#keys) {
      if (timingSafeEqual(candidate.digest, digest)) found = candidate.stored;
    }
    return found;
  }
}
