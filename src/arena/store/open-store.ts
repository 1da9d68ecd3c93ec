import { join } from "node:path";
import type { BattleStore } from "./battle-store.js";
import { openEmbeddedStore } from "./embedded-store.js";
import { openPostgresStore } from "./postgres-store.js";

export interface StoreLocation {
  /** Null: embedded, inside `dataDir`. */
  readonly databaseUrl: string | null;
  readonly dataDir: string;
}

/** @throws ToastError `store_failed` */
export function openStore({ databaseUrl, dataDir }: StoreLocation): Promise<BattleStore> {
  return databaseUrl === null ? openEmbeddedStore(join(dataDir, "arena")) : openPostgresStore(databaseUrl);
}
