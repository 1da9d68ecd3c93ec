import type { DecoderRow, RowResult, RowTopDown } from "../../model/decoder.js";
import type { Lane, LaneKind } from "../../model/kv-cache.js";
import type { Adapter } from "../../steering/adapter.js";
import type { FedBack, Feedback, FeedbackMember } from "../../steering/feedback.js";
import { HiddenStates } from "../../steering/hidden-states.js";
import type { TokenSteering } from "../../steering/token-steering.js";
import type { VectorProjection, VectorStack } from "../../steering/vector-stack.js";
import type { Sequence } from "./request-group.js";
import type { SequenceView } from "./scheduler.js";
import type { PlannedRow } from "./step-plan.js";
import { TextGuesses } from "./text-guesses.js";

/** What the loop needs of an adapter; scripted in the scheduling tests. */
export type LoopAdapter = Pick<Adapter, "topDown" | "graphMs">;

/** An adapter needs two lanes; everything else has one. */
export type Lanes =
  | { readonly kind: "plain"; readonly bottomUp: Lane<"bottomUp"> }
  /** Control vectors alone. */
  | { readonly kind: "vectors"; readonly steered: Lane<"steered">; readonly stack: VectorStack }
  | {
      readonly kind: "steered";
      readonly bottomUp: Lane<"bottomUp">;
      readonly steered: Lane<"steered">;
      readonly adapter: LoopAdapter;
      /** float32 [L] */
      readonly gains: Float32Array;
      readonly stack: VectorStack | null;
      /** A guess of the next token, whose bottom-up row goes along with the steered row that decides about it. */
      draft: number | null;
    };

/** A sequence with its lanes. */
export class RunningSequence {
  readonly sequence: Sequence;
  readonly lanes: Lanes;
  readonly hiddenStates: HiddenStates;
  /** Of the tokens behind the known ones, until their row is computed. */
  guesses: readonly number[] = [];
  readonly textGuesses = new TextGuesses();
  /**
   * What the steered pass did with the tokens of the last row that it read; empty when nobody asked, and in a plain
   * request.
   */
  lastSteering: readonly TokenSteering[] = [];
  /** The same of its control vectors; empty when nobody asked, and without vectors. */
  lastVectors: readonly (readonly VectorProjection[])[] = [];

  /** @param hiddenSize D */
  constructor(sequence: Sequence, lanes: Lanes, hiddenSize: number) {
    this.sequence = sequence;
    this.lanes = lanes;
    this.hiddenStates = new HiddenStates(hiddenSize);
  }

  get id(): string {
    return this.sequence.id;
  }

  get allLanes(): readonly Lane[] {
    const { lanes } = this;
    if (lanes.kind === "plain") return [lanes.bottomUp];
    return lanes.kind === "vectors" ? [lanes.steered] : [lanes.bottomUp, lanes.steered];
  }

  /** The lane whose logits the text is sampled from. */
  get sampledLane(): LaneKind {
    return this.lanes.kind === "plain" ? "bottomUp" : "steered";
  }

  lane({ lane, sequenceId }: PlannedRow): Lane {
    const { lanes } = this;
    if (lane === "bottomUp" && lanes.kind !== "vectors") return lanes.bottomUp;
    if (lane === "steered" && lanes.kind !== "plain") return lanes.steered;
    throw new Error(`sequence ${sequenceId} (${lanes.kind}) has no ${lane} lane`);
  }

  /** @param lastChunk see SequenceView */
  view(lastChunk: number): SequenceView {
    const { lanes, sequence } = this;
    return {
      id: sequence.id,
      lastChunk,
      prompt: sequence.request.promptIds.length,
      promptLogits: sequence.group.needsPromptLogits ? "all" : "last",
      tokens: sequence.tokenIds.length,
      guesses: this.guesses.length,
      bottomUp: lanes.kind === "vectors" ? 0 : lanes.bottomUp.computed,
      steered: steeredView(lanes),
    };
  }

  /** What a steered row's top-down values are made of; null for a bottom-up row. */
  feedbackMember({ lane, from, count }: Pick<PlannedRow, "lane" | "from" | "count">): FeedbackMember | null {
    if (lane === "bottomUp" || this.lanes.kind !== "steered") return null;
    const { adapter, gains } = this.lanes;
    const { explain } = this.sequence.request.report;
    return { adapter, hiddenStates: this.hiddenStates.view(from, count), gains, explain };
  }

  /** @param topDown of a row that an adapter steers; null for any other. */
  decoderRow(row: PlannedRow, topDown: RowTopDown | null): DecoderRow {
    const { lanes, sequence } = this;
    const shared = {
      tokenIds: this.#tokenIds(row),
      logits: row.logits,
      guesses: row.guesses,
      layerOutputs: this.#readsLayers(row),
    };
    if (row.lane === "bottomUp" && lanes.kind !== "vectors") return { lane: lanes.bottomUp, ...shared };
    if (lanes.kind === "vectors") return { lane: lanes.steered, topDown, addition: lanes.stack.addition, ...shared };
    if (lanes.kind === "plain" || topDown === null) {
      throw new Error(`the steered row of sequence ${sequence.id} has no top-down values`);
    }
    return { lane: lanes.steered, topDown, addition: lanes.stack?.addition ?? null, ...shared };
  }

  /** What is known, and behind it what is guessed. */
  #tokenIds({ from, count, guesses }: PlannedRow): readonly number[] {
    const { tokenIds } = this.sequence;
    const known = tokenIds.slice(from, from + count);
    if (guesses) {
      const first = Math.max(0, from - tokenIds.length);
      return [...known, ...this.guesses.slice(first, first + count - known.length)];
    }
    const draft = this.lanes.kind === "steered" && known.length < count ? this.lanes.draft : null;
    return draft === null ? known : [...known, draft];
  }

  /** Whether somebody wants to know what lies behind the layers at these tokens, in the lane that decides. */
  #readsLayers({ lane, from, count }: PlannedRow): boolean {
    if (lane !== this.sampledLane) return false;
    const { group } = this.sequence;
    return group.projectsVectors || (group.layerMeans !== null && from + count > group.layerMeans.first);
  }

  /** Keeps of a computed row what later steps and reports are made of. */
  record({ lane, from, count }: PlannedRow, { hiddenStates, layerOutputs }: RowResult, fedBack: FedBack | null): void {
    if (lane === "bottomUp") this.hiddenStates.set(from, hiddenStates);
    if (lane === this.sampledLane) this.sequence.group.pooled?.add(from, count, hiddenStates);
    if (layerOutputs.length > 0) this.#recordLayers(from, count, layerOutputs);
    if (fedBack === null) return;
    if (fedBack.steering.length > 0) this.lastSteering = fedBack.steering;
    this.sequence.group.promptReport?.addSteering(from, fedBack.steering);
  }

  #recordLayers(from: number, count: number, layerOutputs: readonly Float32Array[]): void {
    const { group } = this.sequence;
    group.layerMeans?.add(from, count, layerOutputs);
    if (!group.projectsVectors || this.lanes.kind === "plain" || this.lanes.stack === null) return;
    const projections = this.lanes.stack.project(layerOutputs);
    if (projections.length > 0) this.lastVectors = projections;
    group.promptReport?.addVectors(from, projections);
  }

  /**
   * Explains the tokens of a prompt that came out of the prefix cache. Their hidden states came along; the adapter
   * reads them once more.
   * @param chunkTokens the chunks of the first time, so that it reads the same.
   */
  async explainRestored(feedback: Feedback, chunkTokens: number): Promise<void> {
    const { group, request } = this.sequence;
    if (group.promptReport === null || !request.report.explain) return;
    for (;;) {
      const chunk = group.promptReport.unsteered(chunkTokens);
      const member = chunk === null ? null : this.feedbackMember({ lane: "steered", ...chunk });
      if (chunk === null || member === null) return;
      group.promptReport.addSteering(chunk.from, (await feedback.ofOne(member)).steering);
    }
  }
}

function steeredView(lanes: Lanes): SequenceView["steered"] {
  switch (lanes.kind) {
    case "plain":
      return { kind: "plain" };
    case "vectors":
      return { kind: "vectors", computed: lanes.steered.computed };
    case "steered":
      return { kind: "steered", computed: lanes.steered.computed, draft: lanes.draft === null ? "none" : "waiting" };
  }
}
