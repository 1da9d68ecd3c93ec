/** How far a download is. */
export interface TransferState {
  /** Bytes, with those of earlier runs. */
  readonly done: number;
  readonly total: number;
  /** Of the last seconds; null: it has just begun. */
  readonly bytesPerSecond: number | null;
  readonly secondsLeft: number | null;
}

const windowMs = 8000;
const shortestMs = 500;

/** Counts bytes as they come, and knows how fast that has been of late. */
export class Transfer {
  readonly total: number;
  readonly #now: () => number;
  /** When, and how many bytes had come by then. */
  readonly #marks: [number, number][];
  #done = 0;
  #received = 0;

  constructor(total: number, now: () => number = () => performance.now()) {
    this.total = total;
    this.#now = now;
    this.#marks = [[now(), 0]];
  }

  /** Bytes that were there already, or, negative, that are to be fetched again: they say nothing of the speed. */
  skip(bytes: number): void {
    this.#done += bytes;
  }

  receive(bytes: number): void {
    this.#done += bytes;
    this.#received += bytes;
    const at = this.#now();
    const last = this.#marks.at(-1);
    if (last === undefined || at - last[0] >= shortestMs / 5) this.#marks.push([at, this.#received]);
    while (this.#marks.length > 2 && at - (this.#marks[1]?.[0] ?? at) > windowMs) this.#marks.shift();
  }

  get state(): TransferState {
    const [from, before] = this.#marks[0] ?? [this.#now(), 0];
    const elapsed = this.#now() - from;
    const speed = elapsed < shortestMs ? null : ((this.#received - before) / elapsed) * 1000;
    const left = this.total - this.#done;
    return {
      done: this.#done,
      total: this.total,
      bytesPerSecond: speed,
      secondsLeft: speed === null || speed < 1 ? null : left / speed,
    };
  }
}

/** `1.2 of 5.0 GB, 12 MB/s, 5 min left` */
export function formatTransfer({ done, total, bytesPerSecond, secondsLeft }: TransferState): string {
  const speed = bytesPerSecond === null ? "" : `, ${formatBytes(bytesPerSecond)}/s`;
  const left = secondsLeft === null ? "" : `, ${formatSeconds(secondsLeft)} left`;
  return `${formatBytes(done)} of ${formatBytes(total)}${speed}${left}`;
}

/** In powers of 1000, as the hub's pages have it. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

function formatSeconds(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
