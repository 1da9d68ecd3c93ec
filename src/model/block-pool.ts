/** Which of the two passes a lane holds the cache of. */
export type LaneKind = "bottomUp" | "steered";

/**
 * Where the blocks of both kinds of lane lie: positions on a line, bottom-up ones at −1, −2, … and steered ones at 0,
 * 1, …, both as near to the middle as they can. A forward reads one range of the line, so what it wants should lie
 * together: the blocks of both lanes when drafting ahead, those of the bottom-up lanes alone when a draft was wrong.
 * Pure bookkeeping; the numbers themselves are KvCache's.
 */
export class BlockPool {
  readonly #sides: Readonly<Record<LaneKind, Side>> = { bottomUp: new Side(), steered: new Side() };

  /** Positions from the middle outwards that are taken or holes between taken ones. */
  extent(kind: LaneKind): number {
    return this.#sides[kind].extent;
  }

  get taken(): number {
    return this.#sides.bottomUp.taken + this.#sides.steered.taken;
  }

  take(kind: LaneKind): number {
    return positionOf(kind, this.#sides[kind].take());
  }

  give(position: number): void {
    this.#sides[kindOf(position)].give(depthOf(position));
  }

  isTaken(position: number): boolean {
    return this.#sides[kindOf(position)].isTaken(depthOf(position));
  }

  /**
   * Moves that fill the holes of a side once there are too many of them; the bookkeeping is done when this returns.
   * @returns what has to be copied, in this order.
   */
  compact(kind: LaneKind): readonly { readonly from: number; readonly to: number }[] {
    return this.#sides[kind]
      .compact()
      .map(({ from, to }) => ({ from: positionOf(kind, from), to: positionOf(kind, to) }));
  }
}

/**
 * Up to this share of a side is suffered as holes before blocks are moved: a forward reads holes as well, and finds
 * rows of one block each quickest where there are none. A block is moved in about a millisecond.
 */
const holeShare = 1 / 32;

/** One side, in depths: 0 is next to the middle. */
class Side {
  extent = 0;
  /** Ascending. */
  readonly #holes: number[] = [];

  get taken(): number {
    return this.extent - this.#holes.length;
  }

  take(): number {
    return this.#holes.shift() ?? this.extent++;
  }

  give(depth: number): void {
    if (!this.isTaken(depth)) throw new Error(`block ${depth} was given back but not taken`);
    const at = this.#holes.findIndex((hole) => hole > depth);
    this.#holes.splice(at === -1 ? this.#holes.length : at, 0, depth);
    while (this.#holes.at(-1) === this.extent - 1 && this.extent > 0) {
      this.#holes.pop();
      this.extent--;
    }
  }

  isTaken(depth: number): boolean {
    return depth < this.extent && !this.#holes.includes(depth);
  }

  compact(): { from: number; to: number }[] {
    if (this.#holes.length <= this.extent * holeShare) return [];
    const moves: { from: number; to: number }[] = [];
    for (;;) {
      const to = this.#holes.shift();
      if (to === undefined) return moves;
      // The outermost position is taken: trailing holes are never kept.
      const from = this.extent - 1;
      moves.push({ from, to });
      this.extent--;
      while (this.#holes.at(-1) === this.extent - 1 && this.#holes.length > 0) {
        this.#holes.pop();
        this.extent--;
      }
    }
  }
}

function positionOf(kind: LaneKind, depth: number): number {
  return kind === "steered" ? depth : -1 - depth;
}

function kindOf(position: number): LaneKind {
  return position < 0 ? "bottomUp" : "steered";
}

function depthOf(position: number): number {
  return position < 0 ? -1 - position : position;
}
