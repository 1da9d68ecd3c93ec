import type { Matcher } from "../../grammar/matcher.js";
import type { FinalNorm } from "../../model/final-norm.js";
import type { DrawRules } from "../../sampling/draw-rules.js";
import type { LogProbabilities } from "../../sampling/log-probabilities.js";
import { drawRules } from "../../sampling/logits-processors.js";
import type { SamplingParams } from "../../sampling/sampling-params.js";
import type { Tokenizer } from "../../text/tokenizer.js";
import type { Usage } from "../engine.js";
import { LayerMeans } from "../output/layer-means.js";
import { OutputProcessor, type ProcessedToken } from "../output/output-processor.js";
import { PooledStates } from "../output/pooled-states.js";
import { PromptReport } from "../output/prompt-report.js";
import type { TokenFacts } from "../output/token-facts.js";
import type { AdmittedRequest } from "./admission.js";

/** For what follows a token, before the token is held; most places take less than a tenth of it. */
const usualGrammarMs = 10;

/** A request and its choices, which share its prompt: the first one computes it, the others begin behind it. */
export class RequestGroup {
  readonly request: AdmittedRequest;
  readonly first: Sequence;
  /** Choices that have not ended. */
  readonly open: Set<Sequence>;
  /** Choices that begin when the first one has computed the prompt. */
  followers: readonly Sequence[];
  #isPromptTold = false;
  /** What is to be reported of the prompt, until it is. */
  promptReport: PromptReport | null;
  /** Of a request that is made to look into the model. */
  readonly layerMeans: LayerMeans | null;
  /** Of a request for one vector of its prompt. */
  readonly pooled: PooledStates | null;
  /** Prompt tokens that were found in the prefix cache when the request left the queue; null before. */
  cachedTokens: number | null = null;
  /** On the clock of `performance.now()`. */
  readonly queuedAt = performance.now();

  /**
   * @param eosIds the model's end-of-sequence tokens
   * @param norm what the last layer's outputs are pooled behind
   */
  constructor(
    request: AdmittedRequest,
    tokenizer: Tokenizer,
    eosIds: ReadonlySet<number>,
    norm: Pick<FinalNorm, "of">,
  ) {
    this.request = request;
    this.first = new Sequence(this, 0, tokenizer, eosIds);
    this.followers = Array.from(
      { length: request.choices - 1 },
      (_, at) => new Sequence(this, at + 1, tokenizer, eosIds),
    );
    this.open = new Set([this.first, ...this.followers]);
    const { promptLogprobs, explain } = request.report;
    this.promptReport = promptLogprobs !== null || explain ? new PromptReport(request.promptIds, request.report) : null;
    const { layerMeans, pooling, promptIds } = request;
    this.layerMeans = layerMeans === undefined ? null : new LayerMeans(promptIds.length, layerMeans);
    this.pooled = pooling === undefined ? null : new PooledStates(promptIds.length, pooling, norm);
  }

  get id(): string {
    return this.request.requestId;
  }

  /** Whether logits of the prompt's tokens are needed: what is in the prefix cache has none. */
  get needsPromptLogits(): boolean {
    return this.promptReport?.needsLogits === true;
  }

  /** Whether it tells of each token how far its control vectors lie along the stream. */
  get projectsVectors(): boolean {
    return this.request.report.explain && this.request.stack !== null;
  }

  /**
   * Of how many of the first tokens the deciding lane may be taken from the prefix cache, which has keys and values,
   * but neither logits nor what lay behind the layers.
   */
  get mostRestored(): number {
    if (this.projectsVectors) return 0;
    // A token's logits are those of the place before it.
    if (this.needsPromptLogits) return Math.max(0, (this.request.report.promptLogprobsFrom ?? 0) - 1);
    return this.layerMeans?.first ?? this.pooled?.first ?? Number.POSITIVE_INFINITY;
  }

  /** @returns the choices that have not begun, which begin now. */
  takeFollowers(): readonly Sequence[] {
    const { followers } = this;
    this.followers = [];
    return followers;
  }

  /** @returns the prompt's ids, once; null where they are not to be told, or are told. */
  takePromptIds(): readonly number[] | null {
    const isTold = this.#isPromptTold;
    this.#isPromptTold = true;
    return this.request.report.tokenIds === true && !isTold ? this.request.promptIds : null;
  }

  /** @returns what is to be reported of the prompt, once; null when there is nothing, or nothing any more. */
  takePromptReport(): PromptReport | null {
    const { promptReport } = this;
    this.promptReport = null;
    return promptReport;
  }
}

/** One choice of a request. */
export interface ChoiceId {
  readonly requestId: string;
  readonly choice: number;
}

/** Everything about a choice that outlives its lanes: a preempted sequence waits with it and goes on where it was. */
export class Sequence {
  readonly group: RequestGroup;
  readonly choice: number;
  readonly sampling: SamplingParams;
  readonly output: OutputProcessor;
  /** Tokens that end the text. */
  readonly endIds: ReadonlySet<number>;
  /** Under which draft and token are drawn. */
  readonly rules: DrawRules;
  /** Where the text stands in its grammar; one of the rules. Null where any text will do. */
  readonly #matcher: Matcher | null;
  /** Of prompt and text. */
  readonly tokenIds: number[];
  /** The last token, until its grammar knows whether the text ends with it; null: nothing waits for that. */
  #held: { readonly tokenId: number; readonly facts: TokenFacts | null } | null = null;

  /** @param eosIds the model's end-of-sequence tokens */
  constructor(group: RequestGroup, choice: number, tokenizer: Tokenizer, eosIds: ReadonlySet<number>) {
    const { request } = group;
    this.group = group;
    this.choice = choice;
    this.sampling = { ...request.sampling, seed: choiceSeed(request.sampling.seed, choice) };
    this.endIds = new Set([...(request.ignoreEos ? [] : eosIds), ...request.stopTokenIds]);
    this.output = new OutputProcessor(tokenizer, request, this.endIds);
    // An end of sequence that is to be ignored is not wanted early either (vLLM).
    const endIds = [...eosIds, ...request.stopTokenIds];
    this.#matcher = request.constraint?.matcher() ?? null;
    this.rules = drawRules({ ...request, sampling: this.sampling, endIds, constraint: this.#matcher });
    this.tokenIds = [...request.promptIds];
  }

  get request(): AdmittedRequest {
    return this.group.request;
  }

  /** Unique among all sequences. */
  get id(): string {
    return `${this.group.id}#${this.choice}`;
  }

  get choiceId(): ChoiceId {
    return { requestId: this.group.id, choice: this.choice };
  }

  get caller(): string {
    return this.request.caller ?? "";
  }

  get requestId(): string {
    return this.group.id;
  }

  get laneCount(): 1 | 2 {
    return this.request.steering.kind === "steered" ? 2 : 1;
  }

  get usage(): Usage {
    return {
      promptTokens: this.request.promptIds.length,
      cachedTokens: this.group.cachedTokens ?? 0,
      completionTokens: this.output.tokens,
    };
  }

  /** Whether its grammar has yet to find what follows the last token: until then there is no next one to compute. */
  get isHeld(): boolean {
    return this.#held !== null;
  }

  /**
   * One more token.
   * @param likelihood null when nobody asked for it.
   * @returns null where its grammar takes time: then `goOn` tells what became of it.
   * @throws ToastError when the grammar does not have it
   */
  push(
    tokenId: number,
    likelihood: LogProbabilities | null,
    facts: Pick<TokenFacts, "steering" | "vectors" | "draft">,
  ): ProcessedToken | null {
    this.tokenIds.push(tokenId);
    this.rules.append(tokenId);
    const { logprob, top } = likelihood ?? { logprob: null, top: [] };
    const isReported = likelihood !== null || this.request.report.explain;
    this.#held = { tokenId, facts: isReported ? { logprob, top, ...facts } : null };
    return this.goOn(usualGrammarMs);
  }

  /** Looks on for what follows a token that is held. @returns null where it takes more time. @throws as `push` */
  goOn(milliseconds: number): ProcessedToken | null {
    if (this.#held === null) throw new Error("no token is held");
    if (this.#matcher?.isReady(milliseconds) === false) return null;
    const { tokenId, facts } = this.#held;
    this.#held = null;
    // The next token's mask says so; it is computed once, and needed next in any case.
    const place = this.#matcher?.isComplete === true ? "last" : "within";
    return this.output.push(tokenId, facts, place);
  }

  /** Frees what its grammar holds. */
  dispose(): void {
    this.#matcher?.dispose();
  }
}

/**
 * Noise of its own for each choice; choice 0 is what a request for one would get. Fibonacci hashing: distinct for all
 * 2³² choices.
 */
function choiceSeed(seed: number, choice: number): number {
  return (seed ^ Math.imul(choice, 0x9e3779b1)) >>> 0;
}
