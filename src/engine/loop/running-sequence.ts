import type { DecoderRow, RowResult, RowTopDown } from "../../model/decoder.js";
import type { Lane, LaneKind } from "../../model/kv-cache.js";
import type { Adapter } from "../../steering/adapter.js";
import type { FedBack, Feedback, FeedbackMember } from "../../steering/feedback.js";
import { HiddenStates } from "../../steering/hidden-states.js";
import type { TokenSteering } from "../../steering/token-steering.js";
import type { Sequence } from "./request-group.js";
import type { SequenceView } from "./scheduler.js";
import type { PlannedRow } from "./step-plan.js";

/** What the loop needs of an adapter; scripted in the scheduling tests. */
export type LoopAdapter = Pick<Adapter, "topDown" | "graphMs">;

/** A plain sequence has one lane, a steered one two; there is no third way. */
export type Lanes =
  | { readonly kind: "plain"; readonly bottomUp: Lane<"bottomUp"> }
  | {
      readonly kind: "steered";
      readonly bottomUp: Lane<"bottomUp">;
      readonly steered: Lane<"steered">;
      readonly adapter: LoopAdapter;
      /** float32 [L] */
      readonly gains: Float32Array;
      /** A guess of the next token, whose bottom-up row goes along with the steered row that decides about it. */
      draft: number | null;
    };

/** A sequence with its lanes. */
export class RunningSequence {
  readonly sequence: Sequence;
  readonly lanes: Lanes;
  readonly hiddenStates: HiddenStates;
  /** What the steered pass did with the last token that it read; null when nobody asked, and in a plain request. */
  lastSteering: TokenSteering | null = null;

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
    return this.lanes.kind === "plain" ? [this.lanes.bottomUp] : [this.lanes.bottomUp, this.lanes.steered];
  }

  /** The lane whose logits the text is sampled from. */
  get sampledLane(): LaneKind {
    return this.lanes.kind === "plain" ? "bottomUp" : "steered";
  }

  lane({ lane, sequenceId }: PlannedRow): Lane {
    if (lane === "bottomUp") return this.lanes.bottomUp;
    if (this.lanes.kind === "steered") return this.lanes.steered;
    throw new Error(`sequence ${sequenceId} is plain and has no steered lane`);
  }

  view(): SequenceView {
    const { lanes, sequence } = this;
    return {
      id: sequence.id,
      prompt: sequence.request.promptIds.length,
      promptLogits: sequence.group.needsPromptLogits ? "all" : "last",
      tokens: sequence.tokenIds.length,
      bottomUp: lanes.bottomUp.computed,
      steered:
        lanes.kind === "plain"
          ? { kind: "plain" }
          : { kind: "steered", computed: lanes.steered.computed, draft: lanes.draft === null ? "none" : "waiting" },
    };
  }

  /** What a steered row's top-down values are made of; null for a bottom-up row. */
  feedbackMember({ lane, from, count }: Pick<PlannedRow, "lane" | "from" | "count">): FeedbackMember | null {
    if (lane === "bottomUp" || this.lanes.kind === "plain") return null;
    const { adapter, gains } = this.lanes;
    const { explain } = this.sequence.request.report;
    return { adapter, hiddenStates: this.hiddenStates.view(from, count), gains, explain };
  }

  /** @param topDown of a steered row; null for a bottom-up one. */
  decoderRow(row: PlannedRow, topDown: RowTopDown | null): DecoderRow {
    const { lanes, sequence } = this;
    const known = sequence.tokenIds.slice(row.from, row.from + row.count);
    const draft = lanes.kind === "steered" && known.length < row.count ? lanes.draft : null;
    const shared = { tokenIds: draft === null ? known : [...known, draft], logits: row.logits };
    if (row.lane === "bottomUp") return { lane: lanes.bottomUp, ...shared };
    if (lanes.kind === "plain" || topDown === null) {
      throw new Error(`the steered row of sequence ${sequence.id} has no top-down values`);
    }
    return { lane: lanes.steered, topDown, ...shared };
  }

  /** Keeps of a computed row what later steps and reports are made of. */
  record({ lane, from }: PlannedRow, { hiddenStates }: RowResult, fedBack: FedBack | null): void {
    if (lane === "bottomUp") this.hiddenStates.set(from, hiddenStates);
    if (fedBack === null) return;
    this.lastSteering = fedBack.steering.at(-1) ?? this.lastSteering;
    this.sequence.group.promptReport?.addSteering(from, fedBack.steering);
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
