/** A sequence, as far as turns go. */
export interface TurnTaker {
  /** Whoever asked: turns go round between callers first. */
  readonly caller: string;
  /** The request that it is a choice of: then between the requests of a caller. */
  readonly requestId: string;
}

/** Beyond so many callers that have had a turn, those before them are forgotten: it costs them a place in a tie. */
export const mostCallers = 10_000;

/**
 * Who gets lanes next, and who gives some up. Nobody's number of requests or choices buys a larger share: those who
 * hold the fewest lanes come first, callers before requests, and what one holds beyond another's is given up when the
 * other waits. Among equals it goes round, and within a request by arrival; so the requests of one caller, of one
 * choice each, are served first come, first served, and none of them gives up anything.
 */
export class FairTurns {
  /** When each caller last got lanes, counted in turns. */
  readonly #lastTurn = new Map<string, number>();
  #turns = 0;

  /** @returns whose turn it is of those that wait, in order of arrival; null when nobody does. */
  next<Waiting extends TurnTaker>(waiting: readonly Waiting[], running: readonly TurnTaker[]): Waiting | null {
    const [first] = waiting;
    if (first === undefined) return null;
    const shares = new Shares(running);
    let best = first;
    for (const one of waiting) if (this.#isBefore(one, best, shares)) best = one;
    return best;
  }

  /** To be called with whoever got lanes. */
  took({ caller }: TurnTaker): void {
    if (this.#lastTurn.size >= mostCallers) this.#lastTurn.clear();
    this.#lastTurn.set(caller, ++this.#turns);
  }

  #isBefore(one: TurnTaker, other: TurnTaker, shares: Shares): boolean {
    const order =
      shares.ofCaller(one) - shares.ofCaller(other) ||
      (this.#lastTurn.get(one.caller) ?? 0) - (this.#lastTurn.get(other.caller) ?? 0) ||
      shares.ofRequest(one) - shares.ofRequest(other);
    return order < 0;
  }
}

/**
 * Pure.
 * @param running in the order in which they started.
 * @returns which of them gives its lanes up when memory has run out: the youngest of whoever holds most; null: nobody
 * runs.
 */
export function firstToGiveUp<Running extends TurnTaker>(running: readonly Running[]): Running | null {
  const shares = new Shares(running);
  let found: Running | null = null;
  for (const one of running) {
    const order =
      found === null
        ? 1
        : shares.ofCaller(one) - shares.ofCaller(found) || shares.ofRequest(one) - shares.ofRequest(found);
    // Of equals the later one.
    if (order >= 0) found = one;
  }
  return found;
}

/**
 * Pure. One that yields still holds as much as whoever it yields to: so nobody gives up what he would get back next.
 * @returns which of the running ones gives its lanes to `next`; null when `next` has his share.
 */
export function yieldsTo<Running extends TurnTaker>(next: TurnTaker, running: readonly Running[]): Running | null {
  const shares = new Shares(running);
  const richest = firstToGiveUp(running);
  if (richest !== null && shares.ofCaller(richest) - shares.ofCaller(next) >= 2) return richest;
  const own = firstToGiveUp(running.filter(({ caller }) => caller === next.caller));
  return own !== null && shares.ofRequest(own) - shares.ofRequest(next) >= 2 ? own : null;
}

/**
 * Whether one more may wait. Pure. A full queue still takes whoever has less than an equal share of it, up to twice its
 * length: one caller alone cannot shut the others out.
 */
export function mayWait(waiting: readonly TurnTaker[], next: Pick<TurnTaker, "caller">, most: number): boolean {
  if (waiting.length < most) return true;
  if (waiting.length >= 2 * most) return false;
  const callers = new Set(waiting.map(({ caller }) => caller)).add(next.caller);
  const own = waiting.reduce((sum, { caller }) => (caller === next.caller ? sum + 1 : sum), 0);
  return own + 1 <= most / callers.size;
}

/** How many lanes each holds. */
class Shares {
  readonly #callers = new Map<string, number>();
  readonly #requests = new Map<string, number>();

  constructor(running: readonly TurnTaker[]) {
    for (const { caller, requestId } of running) {
      this.#callers.set(caller, (this.#callers.get(caller) ?? 0) + 1);
      this.#requests.set(requestId, (this.#requests.get(requestId) ?? 0) + 1);
    }
  }

  ofCaller({ caller }: TurnTaker): number {
    return this.#callers.get(caller) ?? 0;
  }

  ofRequest({ requestId }: TurnTaker): number {
    return this.#requests.get(requestId) ?? 0;
  }
}
