import type { SideName } from "../battle-record.js";

export type PacedFrame =
  | { readonly kind: "text"; readonly side: SideName; readonly text: string }
  | { readonly kind: "end"; readonly side: SideName };

interface Lane {
  text: string;
  /** Code units that were shown. */
  shown: number;
  /** Nothing more will come. */
  whole: boolean;
  /** Its end was shown. */
  ended: boolean;
}

/**
 * Two texts released at one pace, so that speed tells nothing of who writes: each side shows as many characters as the
 * slower one has, and no more than so many a second. When the shorter text is out, the other goes on no faster than
 * both went before: a jump would say which one had been waited for. Pure: the time is the caller's.
 */
export class EqualPace {
  readonly #lanes: Readonly<Record<SideName, Lane>> = { left: lane(), right: lane() };
  #perSecond: number;
  #lastAt: number | null = null;
  #firstAt: number | null = null;
  /** Part of a character that a release was short of. */
  #credit = 0;

  constructor(charactersPerSecond: number) {
    this.#perSecond = charactersPerSecond;
  }

  add(side: SideName, text: string): void {
    this.#lanes[side].text += text;
  }

  /** No more text of this side will be added. */
  complete(side: SideName): void {
    this.#lanes[side].whole = true;
  }

  get done(): boolean {
    return this.#lanes.left.ended && this.#lanes.right.ended;
  }

  /** @param now milliseconds of any clock that goes on evenly. */
  release(now: number): readonly PacedFrame[] {
    const elapsed = now - (this.#lastAt ?? now);
    this.#lastAt = now;
    const frames: PacedFrame[] = [];
    const open = (["left", "right"] as const).filter((side) => !this.#lanes[side].ended);
    // Time in which nothing could be shown is not saved up: a burst would be a sign.
    const allowance = this.#credit + (elapsed * this.#perSecond) / 1000;
    const ready = Math.min(...open.map((side) => this.#lanes[side].text.length - this.#lanes[side].shown));
    const amount = Math.min(Math.floor(allowance), ready);
    this.#credit = Math.min(1, allowance - amount);
    for (const side of open) {
      const lane = this.#lanes[side];
      const end = wholeCharacters(lane, lane.shown + amount);
      if (end > lane.shown) {
        this.#firstAt ??= now;
        frames.push({ kind: "text", side, text: lane.text.slice(lane.shown, end) });
        lane.shown = end;
      }
    }
    for (const side of open) {
      const lane = this.#lanes[side];
      if (!lane.whole || lane.shown < lane.text.length) continue;
      lane.ended = true;
      frames.push({ kind: "end", side });
      const seconds = (now - (this.#firstAt ?? now)) / 1000;
      if (seconds > 0) this.#perSecond = Math.min(this.#perSecond, lane.shown / seconds);
    }
    return frames;
  }
}

function lane(): Lane {
  return { text: "", shown: 0, whole: false, ended: false };
}

/** Moves `end` off the middle of a surrogate pair, which JSON and UTF-8 have no way to carry by halves. */
function wholeCharacters({ text, shown }: Lane, end: number): number {
  const last = text.charCodeAt(end - 1);
  const splits = end > shown && end < text.length && last >= 0xd800 && last <= 0xdbff;
  return splits ? end + 1 : end;
}
