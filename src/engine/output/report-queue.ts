import type { TokenReport } from "../token-report.js";

/** `report` is null for bytes that the text goes on from. */
interface Waiting {
  readonly report: TokenReport | null;
  readonly bytes: Uint8Array;
}

/**
 * Reports of tokens whose text is not all out yet: characters and stop strings may still be coming. A report leaves
 * with the text that has the token's last byte, so the bytes of all reports are the text: what a stop string cuts off
 * is reported no more than it is text, and of a token that it cuts in two the report has the bytes in front of the cut.
 */
export class ReportQueue {
  readonly #waiting: Waiting[] = [];
  /** Bytes of the first waiting token that are out. */
  #out = 0;

  /** @param lead bytes of an unfinished character that the text goes on from. */
  constructor(lead: Uint8Array) {
    if (lead.length > 0) this.#waiting.push({ report: null, bytes: lead });
  }

  push(report: TokenReport): void {
    this.#waiting.push({ report, bytes: report.bytes });
  }

  /** @param text that is out behind what was out before. @returns the reports of the tokens that it completes. */
  take(text: string): readonly TokenReport[] {
    return text === "" || this.#waiting.length === 0 ? [] : this.#leave(this.#bytesBehind(text));
  }

  /** The text ends with `text`: what waits behind that is none of it. */
  cut(text: string): readonly TokenReport[] {
    const bytes = this.#bytesBehind(text);
    const complete = this.#leave(bytes);
    const [broken] = this.#waiting.splice(0);
    if (broken === undefined || broken.report === null || this.#out === 0) return complete;
    return [...complete, { ...broken.report, bytes: broken.bytes.slice(0, this.#out) }];
  }

  /** The text ends with everything that waits. */
  flush(): readonly TokenReport[] {
    return this.#waiting.splice(0).flatMap(({ report }) => report ?? []);
  }

  /** Tokens whose bytes are among the next `bytes`. A token without any leaves with what is in front of it. */
  #leave(bytes: number): readonly TokenReport[] {
    const left: TokenReport[] = [];
    this.#out += bytes;
    for (;;) {
      const first = this.#waiting[0];
      if (first === undefined || first.bytes.length > this.#out) return left;
      this.#waiting.shift();
      this.#out -= first.bytes.length;
      if (first.report !== null) left.push(first.report);
    }
  }

  /**
   * How many of the waiting bytes spell `text`. Those of no character spell U+FFFD, as many as the decoder makes of
   * them.
   */
  #bytesBehind(text: string): number {
    const waiting = Uint8Array.from(this.#waiting.flatMap(({ bytes }) => [...bytes]).slice(this.#out));
    // Nearly always it is all of them.
    if (decoded(waiting) === text) return waiting.length;
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    let units = 0;
    for (let at = 0; at < waiting.length; at++) {
      if (units >= text.length) return at;
      units += utf8.decode(waiting.subarray(at, at + 1), { stream: true }).length;
      if (units < text.length) continue;
      // A byte that shows those before it to be no character may begin the next one itself.
      return decoded(waiting.subarray(0, at + 1)).length > text.length ? at : at + 1;
    }
    return waiting.length;
  }
}

const wholeUtf8 = new TextDecoder("utf-8", { ignoreBOM: true });

function decoded(bytes: Uint8Array): string {
  return wholeUtf8.decode(bytes);
}

/** The end of `bytes` that begins a character and does not finish it. */
export function unfinishedCharacter(bytes: Uint8Array): Uint8Array {
  for (const length of [3, 2, 1]) {
    const end = bytes.slice(-length);
    const isUnfinished = new TextDecoder("utf-8", { ignoreBOM: true }).decode(end, { stream: true }) === "";
    if (end.length === length && isUnfinished) return end;
  }
  return new Uint8Array();
}
