import { createReadStream } from "node:fs";
import { access, rename } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import { ToastError } from "../../errors.js";
import { recordFromWire, toWire } from "../battle-record.js";
import type { StoredBattle } from "./battle-store.js";

/**
 * Folders of older versions hold a PGlite database (`postgres/`) and beside it a journal of everything that was ever
 * acknowledged: one JSON object a line, of a battle or of a vote.
 */
const entrySchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("battle"), record: z.unknown(), ballotHash: z.string().nullable() }),
  z.object({ kind: z.literal("vote"), battleId: z.string(), vote: z.unknown() }),
]);

/**
 * Takes over an old folder's journal, once: it is renamed when `insert` has stored what it holds.
 * @throws ToastError `store_failed` when a line says what no battle can hold, or when the journal has gone and only the
 *   database that nothing here can read is left.
 */
export async function adoptJournal(
  folder: string,
  insert: (entries: readonly StoredBattle[]) => Promise<unknown>,
): Promise<void> {
  const path = join(folder, "journal.jsonl");
  const adopted = join(folder, "journal-imported.jsonl");
  if (!(await exists(path))) {
    if ((await exists(join(folder, "postgres"))) && !(await exists(adopted))) throw journalMissing();
    return;
  }
  await insert(await entriesOf(path));
  // Another server may have done the same at the same time.
  await rename(path, adopted).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}

async function entriesOf(path: string): Promise<readonly StoredBattle[]> {
  const kept = new Map<string, StoredBattle>();
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
    number++;
    const entry = entrySchema.safeParse(wholeEntry(line));
    if (!entry.success) continue;
    try {
      keep(kept, entry.data);
    } catch {
      throw new ToastError(
        "store_failed",
        `Line ${number} of the arena's old journal (arena/journal.jsonl in --data-dir) holds no battle that can be taken over: nothing was stored. Put that line right or take it out, then start again.`,
      );
    }
  }
  return [...kept.values()];
}

/**
 * A full disk could leave half an entry, and glue the next one to it. The half was never acknowledged; what follows it
 * was.
 */
function wholeEntry(line: string): unknown {
  for (let start = 0; start >= 0; start = line.indexOf('{"kind":', start + 1)) {
    try {
      return JSON.parse(line.slice(start));
    } catch {}
  }
  return null;
}

function keep(kept: Map<string, StoredBattle>, entry: z.output<typeof entrySchema>): void {
  if (entry.kind === "battle") {
    const record = recordFromWire(entry.record, "");
    kept.set(record.id, { record, ballotHash: entry.ballotHash });
    return;
  }
  const battle = kept.get(entry.battleId);
  if (battle === undefined || battle.record.vote !== null) return;
  const { vote } = recordFromWire({ ...toWire(battle.record), vote: entry.vote }, "");
  kept.set(entry.battleId, { ...battle, record: { ...battle.record, vote } });
}

function journalMissing(): ToastError {
  return new ToastError(
    "store_failed",
    "The arena's data folder (arena/ in --data-dir) holds a database of an older version (postgres/) without the journal.jsonl from which its battles are taken over. Put the journal back, or move postgres/ away to begin anew.",
  );
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
