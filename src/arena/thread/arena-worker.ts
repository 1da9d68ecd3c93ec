import { parentPort, workerData } from "node:worker_threads";
import { ToastError } from "../../errors.js";
import { boardOf } from "../boards.js";
import type { BattleStore } from "../store/battle-store.js";
import { openStore, type StoreLocation } from "../store/open-store.js";
import type { ArenaCalls, FromArena, ToArena } from "./arena-calls.js";

/** Entry of the arena's threads: a store, and what is computed from it. */
const port = parentPort;
if (port === null) throw new Error("This file is the entry of a thread.");

let opening: Promise<BattleStore> | null = null;

function opened(): Promise<BattleStore> {
  if (opening === null) {
    const attempt = openStore(workerData as StoreLocation);
    opening = attempt;
    // What was away or full may be back.
    attempt.catch(() => {
      opening = null;
    });
  }
  return opening;
}

port.on("message", (message: ToArena) => {
  if (message.kind === "close") void close();
  else void serve(message);
});

async function serve({ id, name, args }: Extract<ToArena, { kind: "call" }>): Promise<void> {
  try {
    const calls = callsOf(await opened());
    const call = calls[name] as (...args: readonly unknown[]) => Promise<unknown>;
    post({ kind: "done", id, value: await call(...args) });
  } catch (error) {
    post({ kind: "failed", id, ...plainly(error) });
  }
}

function callsOf(store: BattleStore): ArenaCalls {
  return {
    opened: () => Promise.resolve(),
    tryWrite: () => store.tryWrite(),
    addBattle: (battle, ballotHash) => store.addBattle(battle, ballotHash),
    addTurn: (battleId, number, turn) => store.addTurn(battleId, number, turn),
    addVote: (battleId, vote) => store.addVote(battleId, vote),
    importRecords: (records) => store.importRecords(records),
    find: (battleId) => store.find(battleId),
    matches: (filter) => store.matches(filter),
    categories: () => store.categories(),
    page: (filter, after) => store.page(filter, after),
    board: (filter) => boardOf(store, filter),
  };
}

function post(message: FromArena): void {
  port?.postMessage(message);
}

function plainly(error: unknown): Pick<Extract<FromArena, { kind: "failed" }>, "data" | "cause"> {
  if (!(error instanceof ToastError)) return { data: null, cause: error instanceof Error ? error : null };
  return { data: error.toData(), cause: error.cause instanceof Error ? error.cause : null };
}

async function close(): Promise<void> {
  try {
    await (await opening)?.close();
  } catch {
    // It was never open; whoever asked has heard why.
  }
  port?.close();
}
