import type { TokenReport } from "../engine/token-report.js";
import { newId } from "../openai/response-head.js";
import { type ItemStep, OutputItems } from "../openai/response-items.js";
import type { ResponseFinishReason } from "../openai/stream-events.js";
import type { Reading } from "../openai/tool-calls.js";
import type { CallFormat } from "../text/tool-call-format.js";

import { KeptStop } from "./kept-stop.js";

/** What more of an answer means for its blocks; `at` counts them from 0. */
export type BlockStep =
  | { readonly kind: "textOpened"; readonly at: number }
  | { readonly kind: "callOpened"; readonly at: number; readonly id: string; readonly name: string }
  | { readonly kind: "text"; readonly at: number; readonly text: string; readonly reports: readonly TokenReport[] }
  | { readonly kind: "arguments"; readonly at: number; readonly text: string }
  /** `reports` of a call's tokens; those of a text went with its pieces. */
  | { readonly kind: "closed"; readonly at: number; readonly reports: readonly TokenReport[] };

export interface BlockOptions {
  readonly reading: Reading;
  readonly format?: CallFormat | undefined;
  readonly stopSequences: readonly string[];
}

/**
 * Tells the blocks of an answer from its text, which ends with the stop sequence that ended it: that one is kept back,
 * and remembered.
 */
export class MessageBlocks {
  readonly #items: OutputItems;
  readonly #stops: readonly string[];
  /** Of the text block that is open. */
  #text: KeptStop;
  #stopped: string | null = null;
  #calls = 0;
  /** Known at the end. */
  #reason: ResponseFinishReason | null = null;

  constructor({ reading, format, stopSequences }: BlockOptions) {
    this.#items = new OutputItems(reading, format, () => newId("toolu"));
    this.#stops = stopSequences;
    this.#text = new KeptStop(stopSequences);
  }

  /** The stop sequence that ended the text; null: none has. */
  get stopped(): string | null {
    return this.#stopped;
  }

  get calls(): number {
    return this.#calls;
  }

  push(text: string, reports: readonly TokenReport[]): readonly BlockStep[] {
    return this.#items.push(text, reports).flatMap((step) => this.#stepsOf(step));
  }

  finish(reason: ResponseFinishReason): readonly BlockStep[] {
    this.#reason = reason;
    return this.#items.finish().flatMap((step) => this.#stepsOf(step));
  }

  #stepsOf(step: ItemStep): readonly BlockStep[] {
    const { at } = step;
    switch (step.kind) {
      case "opened":
        if (step.item.kind === "message") {
          this.#text = new KeptStop(this.#stops);
          return [{ kind: "textOpened", at }];
        }
        this.#calls++;
        return [{ kind: "callOpened", at, id: step.item.callId, name: step.item.name }];
      case "text": {
        const text = this.#text.push(step.text);
        return text === "" && step.reports.length === 0 ? [] : [{ kind: "text", at, text, reports: step.reports }];
      }
      case "arguments":
        return [{ kind: "arguments", at, text: step.text }];
      case "closed": {
        if (step.item.kind === "call") return [{ kind: "closed", at, reports: step.item.reports }];
        const { text, stopped } = this.#text.end(this.#reason === "stop");
        this.#stopped = stopped;
        const rest: BlockStep[] = text === "" ? [] : [{ kind: "text", at, text, reports: [] }];
        return [...rest, { kind: "closed", at, reports: [] }];
      }
    }
  }
}
