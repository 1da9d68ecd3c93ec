import type { TokenReport } from "../engine/token-report.js";
import type { CallFormat } from "../text/tool-call-format.js";
import { newId } from "./response-head.js";
import { type Reading, ToolCallParser } from "./tool-calls.js";

/**
 * One item of an answer while it is written. Every token's report is with one item: that of markup with the call it
 * opens or closes.
 */
export type OutputItem = MessageItem | CallItem;

export interface MessageItem {
  readonly kind: "message";
  readonly id: string;
  readonly text: string;
  readonly reports: readonly TokenReport[];
}

export interface CallItem {
  readonly kind: "call";
  readonly id: string;
  readonly callId: string;
  readonly name: string;
  /** JSON text. */
  readonly arguments: string;
  readonly reports: readonly TokenReport[];
}

/** What more of the answer means for its items; `at` counts them from 0, `item` is as it stands behind the step. */
export type ItemStep =
  | { readonly kind: "opened"; readonly at: number; readonly item: OutputItem }
  | {
      readonly kind: "text";
      readonly at: number;
      readonly item: MessageItem;
      readonly text: string;
      readonly reports: readonly TokenReport[];
    }
  | { readonly kind: "arguments"; readonly at: number; readonly item: CallItem; readonly text: string }
  | { readonly kind: "closed"; readonly at: number; readonly item: OutputItem };

/**
 * Tells the items of a response from its text: messages and calls in the order in which they were written, one open at
 * a time.
 */
export class OutputItems {
  readonly #parser: ToolCallParser | null;
  readonly #items: OutputItem[] = [];
  /** Of markup, and of text that is held back. */
  #reports: TokenReport[] = [];

  /** @param newCallId default: ids as OpenAI's are. */
  constructor(reading: Reading, format?: CallFormat | undefined, newCallId?: () => string) {
    this.#parser = reading === "text" ? null : new ToolCallParser(reading, newCallId, format);
  }

  get items(): readonly OutputItem[] {
    return this.#items;
  }

  push(text: string, reports: readonly TokenReport[]): readonly ItemStep[] {
    const steps: ItemStep[] = [];
    if (this.#parser === null) {
      if (text !== "" || reports.length > 0) this.#write(text, reports, steps);
      return steps;
    }
    for (const piece of tokenPieces(text, reports)) {
      this.#reports.push(...piece.reports);
      this.#take(this.#parser.push(piece.text), steps);
    }
    return steps;
  }

  /** The end of the text. An answer of nothing is an empty message. */
  finish(): readonly ItemStep[] {
    const steps: ItemStep[] = [];
    if (this.#parser !== null) this.#take(this.#parser.flush(), steps);
    const last = this.#items.at(-1);
    const reports = this.#takeReports();
    if (last === undefined) this.#openMessage(steps);
    if (last?.kind === "call") this.#replace({ ...last, reports: [...last.reports, ...reports] });
    else if (reports.length > 0) this.#write("", reports, steps);
    this.#close(steps);
    return steps;
  }

  #take(parts: ReturnType<ToolCallParser["push"]>, steps: ItemStep[]): void {
    for (const part of parts) {
      if (part.kind === "content") {
        this.#write(part.text, this.#takeReports(), steps);
      } else if (part.kind === "callStart") {
        const { id: callId, name } = part;
        this.#open({ kind: "call", id: newId("fc"), callId, name, arguments: "", reports: this.#takeReports() }, steps);
      } else {
        const call = this.#items.at(-1);
        if (call?.kind !== "call") throw new Error("arguments come behind the beginning of their call");
        const reports = [...call.reports, ...this.#takeReports()];
        const item = this.#replace({ ...call, arguments: call.arguments + part.text, reports });
        steps.push({ kind: "arguments", at: this.#items.length - 1, item, text: part.text });
      }
    }
  }

  #write(text: string, reports: readonly TokenReport[], steps: ItemStep[]): void {
    const last = this.#items.at(-1);
    const message = last?.kind === "message" ? last : this.#openMessage(steps);
    const item = this.#replace({ ...message, text: message.text + text, reports: [...message.reports, ...reports] });
    steps.push({ kind: "text", at: this.#items.length - 1, item, text, reports });
  }

  #openMessage(steps: ItemStep[]): MessageItem {
    return this.#open({ kind: "message", id: newId("msg"), text: "", reports: [] }, steps);
  }

  #open<Item extends OutputItem>(item: Item, steps: ItemStep[]): Item {
    this.#close(steps);
    this.#items.push(item);
    steps.push({ kind: "opened", at: this.#items.length - 1, item });
    return item;
  }

  #close(steps: ItemStep[]): void {
    const item = this.#items.at(-1);
    if (item !== undefined) steps.push({ kind: "closed", at: this.#items.length - 1, item });
  }

  #replace<Item extends OutputItem>(item: Item): Item {
    this.#items[this.#items.length - 1] = item;
    return item;
  }

  #takeReports(): readonly TokenReport[] {
    const reports = this.#reports;
    this.#reports = [];
    return reports;
  }
}

/** Text with the reports of its tokens, token by token: however a stream is cut, each report goes to the same item. */
function tokenPieces(text: string, reports: readonly TokenReport[]) {
  const pieces: { readonly text: string; readonly reports: readonly TokenReport[] }[] = [];
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  let at = 0;
  for (const [index, report] of reports.entries()) {
    const isLast = index === reports.length - 1;
    const end = isLast ? text.length : at + utf8.decode(report.bytes, { stream: true }).length;
    pieces.push({ text: text.slice(at, end), reports: [report] });
    at = end;
  }
  return reports.length === 0 ? [{ text, reports }] : pieces;
}
