import type { Adapter } from "../model/adapter.js";
import type { DecoderRow, RowTopDown } from "../model/decoder.js";
import type { Lane } from "../model/kv-cache.js";
import type { DrawRules } from "../sampling/draw-rules.js";
import type { CompiledConstraint, Matcher } from "../sampling/grammar/matcher.js";
import { drawRules } from "../sampling/logits-processors.js";
import type { SamplingParams } from "../sampling/sampling-params.js";
import type { Tokenizer } from "../text/tokenizer.js";
import { HiddenStates } from "./hidden-states.js";
import type { GenerationRequest, ReportRequest, TokenSteering } from "./messages.js";
import { OutputProcessor } from "./output-processor.js";
import type { PrefixKey } from "./prefix-cache.js";
import type { PromptReport } from "./prompt-report.js";
import type { SequenceView } from "./scheduler.js";
import type { PlannedRow } from "./step-plan.js";

/** A request whose prompt is tokenized and fits the context. */
export interface AdmittedRequest {
  readonly requestId: string;
  readonly promptIds: readonly number[];
  /** Ids that the answer's text goes on from; empty for an answer that is a text of its own (see IncrementalDetokenizer). */
  readonly textContext: readonly number[];
  readonly maxTokens: number;
  readonly steering: GenerationRequest["steering"];
  /** Of choice 0; the others draw with seeds made of it. */
  readonly sampling: SamplingParams;
  readonly choices: number;
  readonly stopStrings: readonly string[];
  readonly ignoreEos: boolean;
  /** Tokens before which nothing ends the text. */
  readonly minTokens: number;
  readonly stopTokenIds: readonly number[];
  readonly report: ReportRequest;
  readonly constraint: CompiledConstraint | null;
}

/** What the loop needs of an adapter; scripted in the scheduling tests. */
export type LoopAdapter = Pick<Adapter, "topDown" | "graphMs">;

/** A plain sequence has one lane, a steered one two; there is no third way. */
export type Lanes =
  | { readonly kind: "plain"; readonly bottomUp: Lane }
  | {
      readonly kind: "steered";
      readonly bottomUp: Lane;
      readonly steered: Lane;
      readonly adapter: LoopAdapter;
      /** float32 [L] */
      readonly gains: Float32Array;
      /** A guess of the next token, whose bottom-up row goes along with the steered row that decides about it. */
      draft: number | null;
    };

/** One choice of a request. */
export interface ChoiceId {
  readonly requestId: string;
  readonly choice: number;
}

/** Everything about a choice that outlives its lanes: a preempted sequence waits with it and goes on where it was. */
export class Sequence {
  readonly request: AdmittedRequest;
  readonly choice: number;
  readonly sampling: SamplingParams;
  readonly output: OutputProcessor;
  /** Tokens that end the text. */
  readonly endIds: ReadonlySet<number>;
  /** Under which draft and token are drawn. */
  readonly rules: DrawRules;
  /** Where the text stands in its grammar; one of the rules. Null where any text will do. */
  readonly matcher: Matcher | null;
  /** Other choices of the request, which begin when this one has computed the prompt. */
  followers: Sequence[] = [];
  readonly tokenIds: number[];
  /** Of a request that wants one, until it is told; only its first choice has it. */
  promptReport: PromptReport | null = null;
  /** Prompt tokens that were found in the prefix cache when the sequence first started; null before. */
  cachedTokens: number | null = null;
  /** On the clock of `performance.now()`. */
  readonly queuedAt = performance.now();

  /** @param eosIds the model's end-of-sequence tokens */
  constructor(request: AdmittedRequest, choice: number, tokenizer: Tokenizer, eosIds: ReadonlySet<number>) {
    this.request = request;
    this.choice = choice;
    this.sampling = { ...request.sampling, seed: choiceSeed(request.sampling.seed, choice) };
    this.endIds = new Set([...(request.ignoreEos ? [] : eosIds), ...request.stopTokenIds]);
    this.output = new OutputProcessor(tokenizer, request, this.endIds);
    // An end of sequence that is to be ignored is not wanted early either (vLLM).
    const endIds = [...eosIds, ...request.stopTokenIds];
    this.matcher = request.constraint?.matcher() ?? null;
    this.rules = drawRules({ ...request, sampling: this.sampling, endIds, constraint: this.matcher });
    this.tokenIds = [...request.promptIds];
  }

  /** Unique among all sequences. */
  get id(): string {
    return `${this.request.requestId}#${this.choice}`;
  }

  get choiceId(): ChoiceId {
    return { requestId: this.request.requestId, choice: this.choice };
  }

  get laneCount(): 1 | 2 {
    return this.request.steering.kind === "plain" ? 1 : 2;
  }
}

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

  get explains(): boolean {
    return this.lanes.kind === "steered" && this.sequence.request.report.explain;
  }

  /** Of tokens that the steered pass has just read. */
  noteSteering(from: number, steering: readonly TokenSteering[]): void {
    this.lastSteering = steering.at(-1) ?? this.lastSteering;
    this.sequence.promptReport?.addSteering(from, steering);
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
      promptLogits: sequence.promptReport?.needsLogits === true ? "all" : "last",
      tokens: sequence.tokenIds.length,
      bottomUp: lanes.bottomUp.computed,
      steered:
        lanes.kind === "plain"
          ? { kind: "plain" }
          : { kind: "steered", computed: lanes.steered.computed, draft: lanes.draft === null ? "none" : "waiting" },
    };
  }

  /** @param topDown of a steered row; null for a bottom-up one. */
  decoderRow(row: PlannedRow, topDown: RowTopDown | null): DecoderRow {
    const { lanes, sequence } = this;
    const known = sequence.tokenIds.slice(row.from, row.from + row.count);
    const draft = lanes.kind === "steered" && known.length < row.count ? lanes.draft : null;
    const shared = {
      lane: this.lane(row),
      tokenIds: draft === null ? known : [...known, draft],
      output: row.output,
    };
    if (row.lane === "bottomUp") return { pass: "bottomUp", ...shared };
    if (topDown === null) throw new Error(`the steered row of sequence ${sequence.id} has no top-down values`);
    return { pass: "steered", topDown, ...shared };
  }
}

/** Noise of its own for each choice; choice 0 is what a request for one would get. Fibonacci hashing: distinct for all 2³² choices. */
function choiceSeed(seed: number, choice: number): number {
  return (seed ^ Math.imul(choice, 0x9e3779b1)) >>> 0;
}

/** Bottom-up lanes are everybody's; steered ones depend on the adapter and on how strongly each layer is steered. */
export const bottomUpPrefix: PrefixKey = "bottomUp";

export function steeredPrefix({ steering }: AdmittedRequest, gains: Float32Array): PrefixKey {
  if (steering.kind === "plain") throw new Error("a plain request has no steered lane");
  return `${prefixOf(steering.adapter)}${gains.join(" ")}`;
}

export function isSteeredBy(key: PrefixKey, adapter: string): boolean {
  return key.startsWith(prefixOf(adapter));
}

/** No adapter's key holds a space. */
function prefixOf(adapter: string): string {
  return `steered ${adapter} `;
}
