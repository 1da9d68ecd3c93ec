import type { Candidate } from "./served-folder.js";

/**
 * How often the folder is looked at. Polling, since change events of containers' and network file systems do not come
 * or come late; and by our own listing, since what has to be complete is a folder or a pair of files, of which a
 * watcher of files knows nothing.
 */
const lookEveryMs = 2_000;

/** What has come, changed and gone in a folder since it was looked at. */
export class WatchedFolder<Found extends Candidate> {
  readonly #files: { list(): Promise<readonly Found[]> };
  /** By path: what was there at the last look, and what of it was reported; null: not yet. */
  readonly #seen = new Map<string, { readonly signature: string; readonly reported: string | null }>();
  #timer: NodeJS.Timeout | null = null;

  constructor(files: { list(): Promise<readonly Found[]> }) {
    this.#files = files;
  }

  /**
   * @param changes `settled`: what changed since the last look may still be written to, and waits for the next one.
   */
  async look(changes: "at once" | "settled"): Promise<{
    readonly gone: readonly string[];
    readonly changed: readonly Found[];
  }> {
    const candidates = await this.#files.list();
    const found = new Set(candidates.map(({ path }) => path));
    const gone = [...this.#seen.keys()].filter((path) => !found.has(path));
    for (const path of gone) this.forget(path);
    const changed = candidates.filter(({ path, signature }) => {
      const before = this.#seen.get(path) ?? { signature: null, reported: null };
      const isSettled = changes === "at once" || before.signature === signature;
      this.#seen.set(path, { signature, reported: isSettled ? signature : before.reported });
      return isSettled && before.reported !== signature;
    });
    return { gone, changed };
  }

  /** What was put there by ourselves is no news. */
  remember({ path, signature }: Candidate): void {
    this.#seen.set(path, { signature, reported: signature });
  }

  forget(path: string): void {
    this.#seen.delete(path);
  }

  /** Calls `look` again and again, each time some time after the last one has ended. */
  start(look: () => Promise<void>): void {
    this.#timer = setTimeout(() => void look().finally(() => this.#timer !== null && this.start(look)), lookEveryMs);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
