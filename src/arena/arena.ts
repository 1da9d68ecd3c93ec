import { randomInt } from "node:crypto";
import { ToastError } from "../errors.js";
import { type BattleRecord, type BattleSide, conversationOf, type SideName, storableText } from "./battle-record.js";
import { ballotFits, newBallot } from "./battles/ballot.js";
import { type Pair, sideNames } from "./battles/two-answers.js";
import { type ArenaBoard, Boards } from "./boards.js";
import type { Contestant, Question } from "./contestants/contestant.js";
import type { Roster } from "./contestants/roster.js";
import type { Winner } from "./ratings/match.js";
import { type BattleFilter, type BattleStore, type ImportCount, recordsOf } from "./store/battle-store.js";

/** Battles between contestants, and what the votes say. Knows no HTTP. */
export class Arena {
  readonly roster: Roster;
  readonly #openStore: () => Promise<BattleStore>;
  #store: Promise<BattleStore> | null = null;
  readonly #boards: Boards;

  /**
   * @param openStore called when the store is first needed: a server that nobody votes on keeps no database.
   * @param computeBoard of what is in that store; takes its time in another thread.
   */
  constructor(
    roster: Roster,
    openStore: () => Promise<BattleStore>,
    computeBoard: (filter: BattleFilter) => Promise<ArenaBoard>,
  ) {
    this.roster = roster;
    this.#openStore = openStore;
    this.#boards = new Boards(computeBoard);
  }

  /**
   * To be awaited before anything is done whose outcome has to be stored.
   * @throws ToastError `store_failed`
   */
  async tryStore(): Promise<void> {
    await (await this.#opened()).tryWrite();
  }

  /**
   * @param wanted two ids, in no order; null: any two that take part in random pairs.
   * @returns them on random sides.
   * @throws ToastError `contestant_not_found`, `invalid_request`
   */
  draw(wanted: readonly [string, string] | null): Pair<Contestant> {
    const [one, other] = wanted === null ? this.#drawTwo() : [this.roster.find(wanted[0]), this.roster.find(wanted[1])];
    return randomInt(2) === 0 ? { left: one, right: other } : { left: other, right: one };
  }

  /** Stores a battle that was shown. @returns the secret that its vote has to bring. */
  async keep(id: string, shown: Shown, createdAt: Date): Promise<string> {
    const { secret, hash } = newBallot();
    const { messages, temperature, topP, maxTokens, seed } = shown.question;
    const store = await this.#opened();
    await store.addBattle(
      {
        id,
        source: "arena",
        createdAt,
        category: shown.category,
        messages: [...messages],
        parameters: { temperature, topP, maxTokens },
        seed,
        ...shown.answers,
        turns: [],
      },
      hash,
    );
    return secret;
  }

  /**
   * @returns a battle that is shown and waits for its vote, to go on with.
   * @throws ToastError `battle_not_found`, `ballot_invalid`, `already_voted`, `invalid_request`
   */
  async goOn(id: string, ballot: string): Promise<OpenBattle> {
    const record = await this.#found(id, ballot);
    if (record.vote !== null) {
      throw new ToastError("already_voted", "This battle has its vote already: it takes no further turn.");
    }
    if (record.turns.length + 1 >= mostTurns) {
      const message = `This battle has ${mostTurns} turns, which is as many as one takes. Vote, and begin another.`;
      throw new ToastError("invalid_request", message);
    }
    return { record, number: record.turns.length + 2 };
  }

  /**
   * The two of an open battle, and what each is asked: its own conversation, and one message more.
   * @throws ToastError `contestant_not_found` when one of them has left meanwhile.
   */
  nextQuestions({ record }: OpenBattle, prompt: string) {
    const { temperature, topP, maxTokens } = record.parameters;
    if (temperature === null || topP === null || maxTokens === null || record.seed === null) {
      throw new Error("A battle with a ballot was shown here, and has all that it was asked with.");
    }
    const sampling = { temperature, topP, maxTokens, seed: record.seed };
    const question = (side: SideName): Question => ({
      messages: [...conversationOf(record, side), { role: "user", content: prompt }],
      ...sampling,
    });
    return {
      contestants: {
        left: this.roster.find(record.left.contestant),
        right: this.roster.find(record.right.contestant),
      },
      questions: { left: question("left"), right: question("right") },
    };
  }

  /**
   * Stores a further turn that was shown.
   * @throws ToastError `contestant_failed` when one of them is of other weights by now, `already_voted`,
   *   `battle_changed`
   */
  async keepTurn({ record, number }: OpenBattle, turn: ShownTurn): Promise<void> {
    for (const side of sideNames) {
      if (weightsOf(record[side]) === weightsOf(turn.answers[side])) continue;
      const message = `${record[side].contestant} is of other weights than when this battle began.`;
      throw new ToastError("contestant_failed", message);
    }
    const { createdAt, prompt, answers } = turn;
    await (await this.#opened()).addTurn(record.id, number, { createdAt, prompt, ...answers });
  }

  /**
   * @returns the battle with its vote, which is on disk.
   * @throws ToastError `battle_not_found`, `ballot_invalid`, `already_voted`
   */
  async vote(id: string, ballot: string, winner: Winner): Promise<BattleRecord> {
    const record = await this.#found(id, ballot);
    const vote = { winner, judge: "human", votedAt: new Date(), details: null };
    await (await this.#opened()).addVote(record.id, vote);
    this.#boards.outdate();
    return { ...record, vote };
  }

  /** @throws ToastError `store_failed`, `server_overloaded` */
  leaderboard(filter: BattleFilter): Promise<ArenaBoard> {
    return this.#boards.look(filter);
  }

  async records(filter: BattleFilter): Promise<AsyncIterable<BattleRecord>> {
    return recordsOf(await this.#opened(), filter);
  }

  async import(records: readonly BattleRecord[]): Promise<ImportCount> {
    const count = await (await this.#opened()).importRecords(records);
    this.#boards.outdate();
    return count;
  }

  async close(): Promise<void> {
    const store = await this.#store?.catch(() => null);
    await store?.close();
  }

  async #found(id: string, ballot: string): Promise<BattleRecord> {
    // No database takes U+0000, which an address may well hold.
    const found = await (await this.#opened()).find(storableText(id));
    if (found === null) {
      throw new ToastError("battle_not_found", "There is no such battle, or it was never shown to its end.");
    }
    if (!ballotFits(ballot, found.ballotHash)) {
      const message =
        "The ballot is not this battle's. It comes with the battle's last frame, once both answers were shown.";
      throw new ToastError("ballot_invalid", message, { param: "ballot" });
    }
    return found.record;
  }

  #opened(): Promise<BattleStore> {
    if (this.#store === null) {
      const store = this.#openStore();
      this.#store = store;
      // A database that was down may be up again.
      store.catch(() => {
        this.#store = null;
      });
    }
    return this.#store;
  }

  #drawTwo(): readonly [Contestant, Contestant] {
    const pool = this.roster.contestants.filter(({ arena }) => arena);
    const first = pool[randomInt(Math.max(1, pool.length))];
    const rest = pool.filter((contestant) => contestant !== first);
    const second = rest[randomInt(Math.max(1, rest.length))];
    if (first === undefined || second === undefined) {
      throw new ToastError(
        "invalid_request",
        "A battle needs two contestants, and this server has fewer. Serve another model, or name remote ones with --contestants.",
      );
    }
    return [first, second];
  }
}

/** Of one battle: more than people judge as one, fewer than a record has room for. */
const mostTurns = 20;

function weightsOf({ weightsHash, adapterHash, vectorHashes }: BattleSide): string {
  return JSON.stringify([weightsHash, adapterHash, vectorHashes]);
}

/** A battle that waits for its vote, or for a further turn. */
export interface OpenBattle {
  readonly record: BattleRecord;
  /** Of the turn to come. */
  readonly number: number;
}

/** A further turn that was shown to its end. */
export interface ShownTurn {
  readonly createdAt: Date;
  readonly prompt: string;
  readonly answers: Pair<BattleSide>;
}

/** A battle that was shown to its end. */
export interface Shown {
  readonly question: Question;
  readonly category: string | null;
  readonly answers: Pair<BattleSide>;
}
