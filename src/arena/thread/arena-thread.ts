import { Worker } from "node:worker_threads";
import { ToastError } from "../../errors.js";
import type { BattleStore } from "../store/battle-store.js";
import { openStore, type StoreLocation } from "../store/open-store.js";
import type { ArenaCalls, CallName, FromArena, ToArena } from "./arena-calls.js";

interface Pending {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

interface Running {
  readonly worker: Worker;
  readonly pending: Map<number, Pending>;
  readonly exited: Promise<void>;
}

/**
 * A store in a thread of its own, for a thread that has streams to keep going: SQLite waits for locks and disks where
 * it is called, and a board takes seconds. The thread starts with the first call, and again with the next one when it
 * has died.
 */
export class ArenaThread {
  readonly #location: StoreLocation;
  readonly #workerUrl: URL;
  #running: Running | null = null;
  #lastId = 0;

  /** @param workerUrl the compiled entry; tests that run from source name the built one. */
  constructor(location: StoreLocation, workerUrl: URL = new URL("./arena-worker.js", import.meta.url)) {
    this.#location = location;
    this.#workerUrl = workerUrl;
  }

  /** @throws ToastError `store_failed`, and as the call does. */
  call<Name extends CallName>(name: Name, ...args: Parameters<ArenaCalls[Name]>): ReturnType<ArenaCalls[Name]> {
    this.#running ??= this.#start();
    const { worker, pending } = this.#running;
    const id = ++this.#lastId;
    const value = new Promise((resolve, reject) => pending.set(id, { resolve, reject }));
    worker.postMessage({ kind: "call", id, name, args } satisfies ToArena);
    return value as ReturnType<ArenaCalls[Name]>;
  }

  /** Lets calls end, and the thread. */
  async close(): Promise<void> {
    const running = this.#running;
    // What is waited for keeps the process alive, or it would end in the middle of its last steps.
    running?.worker.ref();
    running?.worker.postMessage({ kind: "close" } satisfies ToArena);
    await running?.exited;
  }

  #start(): Running {
    const { databaseUrl, dataDir } = this.#location;
    const worker = new Worker(this.#workerUrl, { workerData: { databaseUrl, dataDir } satisfies StoreLocation });
    const pending = new Map<number, Pending>();
    let failure: Error | undefined;
    const exited = new Promise<void>((resolve) => {
      worker.once("exit", () => {
        if (this.#running?.worker === worker) this.#running = null;
        const message = "The arena's thread has ended: nothing was stored. Try again.";
        const error = new ToastError("store_failed", message, { cause: failure });
        for (const { reject } of pending.values()) reject(error);
        resolve();
      });
    });
    worker.on("error", (error) => {
      failure = error instanceof Error ? error : new Error(String(error));
    });
    worker.on("message", (message: FromArena) => {
      const waiting = pending.get(message.id);
      pending.delete(message.id);
      if (message.kind === "done") waiting?.resolve(message.value);
      else waiting?.reject(errorOf(message));
    });
    // A thread with nothing to do keeps no process alive.
    worker.unref();
    return { worker, pending, exited };
  }
}

function errorOf({ data, cause }: Extract<FromArena, { kind: "failed" }>): Error {
  const options = cause === null ? {} : { cause };
  return data === null
    ? new Error("A call of the arena's thread failed.", options)
    : new ToastError(data.code, data.message, { param: data.param, ...options });
}

/**
 * The store of a server: SQLite in a thread of its own, Postgres, which waits elsewhere, in this one.
 * @throws ToastError `store_failed`
 */
export async function openThreadStore(location: StoreLocation, workerUrl?: URL): Promise<BattleStore> {
  if (location.databaseUrl !== null) return openStore(location);
  const thread = new ArenaThread(location, workerUrl);
  try {
    await thread.call("opened");
  } catch (error) {
    await thread.close();
    throw error;
  }
  return {
    tryWrite: () => thread.call("tryWrite"),
    addBattle: (battle, ballotHash) => thread.call("addBattle", battle, ballotHash),
    addTurn: (battleId, number, turn) => thread.call("addTurn", battleId, number, turn),
    addVote: (battleId, vote) => thread.call("addVote", battleId, vote),
    importRecords: (records) => thread.call("importRecords", records),
    find: (battleId) => thread.call("find", battleId),
    matches: (filter) => thread.call("matches", filter),
    categories: () => thread.call("categories"),
    page: (filter, after) => thread.call("page", filter, after),
    close: () => thread.close(),
  };
}
