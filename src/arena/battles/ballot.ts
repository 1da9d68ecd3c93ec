import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** A battle's name: unguessable, though nothing but a name. */
export function newBattleId(): string {
  return `b_${randomBytes(16).toString("hex")}`;
}

export interface Ballot {
  /** For the one who saw both answers. */
  readonly secret: string;
  /** For the store: whoever reads it can cast no vote. */
  readonly hash: string;
}

export function newBallot(): Ballot {
  const secret = randomBytes(32).toString("base64url");
  return { secret, hash: hashOf(secret) };
}

/** @param hash of the battle; null: it takes no votes. */
export function ballotFits(secret: string, hash: string | null): boolean {
  if (hash === null) return false;
  return timingSafeEqual(Buffer.from(hashOf(secret), "hex"), Buffer.from(hash.padEnd(64, "0").slice(0, 64), "hex"));
}

function hashOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}
