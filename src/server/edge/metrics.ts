import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Engine } from "../../engine/engine.js";
import type { EngineStatus } from "../../engine/engine-status.js";
import type { GenerationRequest } from "../../engine/generation-request.js";
import type { ModelInfo } from "../../engine/model-info.js";
import { servedModelsOf } from "../../engine/served-model.js";
import { within } from "../within.js";
import type { GenerationListener } from "./observed-generations.js";
import type { GenerationFacts, RequestRecord } from "./request-record.js";

const prefix = "toast_serve_";

/** Seconds. vLLM's buckets, so that its dashboards fit. */
const buckets = {
  firstToken: [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
  ],
  interToken: [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
  ],
  request: [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680],
} as const;

export interface MetricsOptions {
  /** Whether `process_…` and `nodejs_…` metrics are there too; they cost timers of their own. */
  readonly processMetrics: boolean;
  /** What the only model answers to beside its own id. */
  readonly servedNames?: readonly string[];
}

/**
 * prom-client's gauges with a counter's name; Prometheus' linter takes offence. The same numbers stand beside them by
 * type.
 */
const misnamed = ["nodejs_active_handles_total", "nodejs_active_requests_total", "nodejs_active_resources_total"];

/** How old what an engine said of itself may be: several scrapers cost it one message. */
const statusMaxAgeMs = 1_000;
/** How long a scrape waits for an engine in the middle of a forward; then it tells what it knew before. */
const statusTimeoutMs = 2_000;

interface EngineView {
  readonly model: ModelInfo;
  readonly status: EngineStatus;
}

/** What Prometheus is told. Names: vLLM's suffixes behind a prefix of our own. The one file that knows prom-client. */
export class Metrics implements GenerationListener {
  readonly #registry = new Registry();
  readonly #engines: () => readonly Engine[];
  readonly #known = new Map<Engine, EngineView>();
  /** The last inspection of an engine, done or not. */
  readonly #inspections = new Map<Engine, { readonly at: number; readonly done: Promise<void> }>();
  readonly #firstToken: Histogram<"model_name">;
  readonly #interToken: Histogram<"model_name">;
  readonly #endToEnd: Histogram<"model_name">;
  readonly #queue: Histogram<"model_name">;
  readonly #promptTokens: Counter<"model_name">;
  readonly #generationTokens: Counter<"model_name">;
  readonly #success: Counter<"model_name" | "finished_reason">;
  readonly #http: Counter<"method" | "route" | "status">;
  readonly #engineStops: Counter<"model_name">;
  /** What steers the requests that are in a queue. */
  readonly #queued = new Map<GenerationFacts, readonly string[]>();

  constructor(engines: () => readonly Engine[], options: MetricsOptions) {
    this.#engines = engines;
    const registers = [this.#registry];
    const labelNames = ["model_name"] as const;
    const histogram = (name: string, help: string, bounds: readonly number[]) =>
      new Histogram({ name: prefix + name, help, labelNames, buckets: [...bounds], registers });
    const counter = (name: string, help: string) => new Counter({ name: prefix + name, help, labelNames, registers });
    this.#firstToken = histogram(
      "time_to_first_token_seconds",
      "From a request's arrival to the first text of its answer.",
      buckets.firstToken,
    );
    this.#interToken = histogram(
      "inter_token_latency_seconds",
      "Between the tokens of one choice, as they reach the HTTP thread.",
      buckets.interToken,
    );
    this.#endToEnd = histogram(
      "e2e_request_latency_seconds",
      "From a request's arrival to its last token.",
      buckets.request,
    );
    this.#queue = histogram("request_queue_time_seconds", "In the engine's queue.", buckets.request);
    this.#promptTokens = counter("prompt_tokens_total", "Tokens of prompts, cached ones included.");
    this.#generationTokens = counter("generation_tokens_total", "Tokens generated.");
    this.#success = new Counter({
      name: `${prefix}request_success_total`,
      help: "Choices that came to an end, by the reason; abort: the client left, or a time limit was over.",
      labelNames: ["model_name", "finished_reason"],
      registers,
    });
    this.#http = new Counter({
      name: `${prefix}http_requests_total`,
      help: "HTTP requests answered, by route pattern and status; 499: the client left before there was one.",
      labelNames: ["method", "route", "status"],
      registers,
    });
    this.#engineStops = counter("engine_stops_total", "How often an engine that served ended; it is started again.");
    this.#registerEngineMetrics();
    this.#registerRouterMetrics(options.servedNames ?? []);
    if (options.processMetrics) {
      collectDefaultMetrics({ register: this.#registry });
      for (const name of misnamed) this.#registry.removeSingleMetric(name);
    }
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The text of a scrape. One message to each engine at most, none within a second of the last. */
  async scrape(): Promise<string> {
    await Promise.all(this.#engines().map((engine) => this.#look(engine)));
    return this.#registry.metrics();
  }

  accepted(facts: GenerationFacts): void {
    this.#promptTokens.inc({ model_name: facts.modelName }, facts.promptTokens);
    this.#queued.set(facts, steeringNames(facts));
  }

  started(facts: GenerationFacts, queueMs: number): void {
    const { modelName } = facts;
    this.#queued.delete(facts);
    this.#queue.observe({ model_name: modelName }, queueMs / 1000);
  }

  firstToken({ modelName, begunAt, firstTokenAt }: GenerationFacts, record: RequestRecord | null): void {
    this.#firstToken.observe({ model_name: modelName }, ((firstTokenAt ?? 0) - (record?.arrivedAt ?? begunAt)) / 1000);
  }

  tokens({ modelName }: GenerationFacts, count: number, gapMs: number | null): void {
    const label = { model_name: modelName };
    this.#generationTokens.inc(label, count);
    if (gapMs === null) return;
    // Held-back tokens come together; each took its share.
    for (let token = 0; token < count; token++) this.#interToken.observe(label, gapMs / count / 1000);
  }

  ended(facts: GenerationFacts, record: RequestRecord | null): void {
    const { modelName, begunAt, endedAt, reasons } = facts;
    this.#queued.delete(facts);
    // Tokens without text, such as an end of sequence, are known only now.
    this.#generationTokens.inc({ model_name: modelName }, facts.completionTokens - facts.streamedTokens);
    for (const reason of reasons) {
      const finished_reason = reason === "cancelled" ? "abort" : reason;
      this.#success.inc({ model_name: modelName, finished_reason });
    }
    // One of thousands of inputs of an embedding says nothing of how long an answer takes.
    if (facts.request.pooling === undefined && reasons.length > 0 && !reasons.includes("cancelled")) {
      this.#endToEnd.observe({ model_name: modelName }, ((endedAt ?? begunAt) - (record?.arrivedAt ?? begunAt)) / 1000);
    }
  }

  /** @param base its model's id. */
  engineStopped(base: string): void {
    this.#engineStops.inc({ model_name: base });
  }

  responded({ method, route, status }: RequestRecord): void {
    this.#http.inc({ method, route, status });
  }

  /** Asks an engine what it holds, unless it was asked just now; keeps the last answer while it has no time for one. */
  async #look(engine: Engine): Promise<void> {
    const { phase } = engine;
    if (phase.kind !== "ready") return;
    // From zero on: what appears with its first event has no rate.
    this.#engineStops.inc({ model_name: phase.model.id }, 0);
    let inspection = this.#inspections.get(engine);
    if (inspection === undefined || performance.now() - inspection.at >= statusMaxAgeMs) {
      const { model } = phase;
      const done = engine.inspect().then(
        (status) => void this.#known.set(engine, { model, status }),
        // An engine that has just failed has no status; its phase says so elsewhere.
        () => {},
      );
      inspection = { at: performance.now(), done };
      this.#inspections.set(engine, inspection);
    }
    await within(inspection.done, statusTimeoutMs);
  }

  #views(): readonly EngineView[] {
    return this.#engines().flatMap((engine) => this.#known.get(engine) ?? []);
  }

  /** What engines count themselves is copied when a scrape asks. */
  #registerEngineMetrics(): void {
    type Read = (view: EngineView) => number;
    const views = () => this.#views();
    const registers = [this.#registry];
    const gauge = (name: string, help: string, read: Read) =>
      new Gauge({
        name: prefix + name,
        help,
        labelNames: ["model_name"],
        registers,
        collect() {
          this.reset();
          for (const view of views()) this.set({ model_name: view.model.id }, read(view));
        },
      });
    const counter = (name: string, help: string, kinds: Readonly<Record<string, Read>>, label: string | null = null) =>
      new Counter({
        name: prefix + name,
        help,
        labelNames: label === null ? ["model_name"] : ["model_name", label],
        registers,
        collect() {
          this.reset();
          for (const view of views()) {
            for (const [kind, read] of Object.entries(kinds)) {
              this.inc({ model_name: view.model.id, ...(label === null ? {} : { [label]: kind }) }, read(view));
            }
          }
        },
      });
    gauge("num_requests_running", "Choices that have lanes.", ({ status }) => status.running);
    gauge("num_requests_waiting", "Requests in the engine's queue.", ({ status }) => status.waiting);
    gauge(
      "kv_cache_usage_perc",
      "Share of the key/value cache that running requests hold, 0 to 1.",
      ({ status }) => status.cacheBytes / status.cacheLimitBytes,
    );
    gauge(
      "prefix_cache_usage_perc",
      "Share of the key/value cache that is kept for later requests, 0 to 1.",
      ({ status }) => status.prefixBytes / status.cacheLimitBytes,
    );
    gauge("adapters_loaded", "Steering adapters.", ({ model }) => model.adapters.length);
    gauge("vectors_loaded", "Control vectors.", ({ model }) => model.vectors.length);
    counter("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", {
      all: ({ status }) => status.prefixTokens.queried,
    });
    counter("prefix_cache_hits_total", "Prompt tokens that the prefix cache had.", {
      all: ({ status }) => status.prefixTokens.hit,
    });
    counter("num_preemptions_total", "Running requests that gave their memory back and waited again.", {
      all: ({ status }) => status.preemptions,
    });
    counter("draft_tokens_proposed_total", "Tokens that the bottom-up pass guessed ahead.", {
      all: ({ status }) => status.drafts.proposed,
    });
    counter("draft_tokens_accepted_total", "Guessed tokens that the steered pass then chose.", {
      all: ({ status }) => status.drafts.accepted,
    });
    counter("guessed_tokens_proposed_total", "Tokens guessed ahead by what stood in prompt and text before.", {
      all: ({ status }) => status.guesses.proposed,
    });
    counter("guessed_tokens_accepted_total", "Of these, tokens that the text then had.", {
      all: ({ status }) => status.guesses.accepted,
    });
    counter(
      "forwards_total",
      "Runs of the decoder, by what they were for.",
      {
        prefill: ({ status }) => status.prefillForwards,
        decode: ({ status }) => status.forwards - status.prefillForwards,
      },
      "kind",
    );
    counter(
      "forward_rows_total",
      "Rows computed in forwards, by lane.",
      { bottomUp: ({ status }) => status.rows.bottomUp, steered: ({ status }) => status.rows.steered },
      "lane",
    );
    counter(
      "engine_time_seconds_total",
      "In the model's graphs, and in the engine's own work between them.",
      {
        graph: ({ status }) => status.time.graphMs / 1000,
        // Graphs run once while loading, outside of any step.
        engine: ({ status }) => Math.max(0, status.time.stepMs - status.time.graphMs) / 1000,
      },
      "part",
    );
  }

  /**
   * What routers such as llm-d's choose by, beside queue, running requests and use of the cache: which adapters a
   * server has, as vLLM tells of LoRA, and how its prefix cache is cut. One series each: a router reads only one.
   * @see https://github.com/kubernetes-sigs/gateway-api-inference-extension/tree/main/docs/proposals/003-model-server-protocol
   */
  #registerRouterMetrics(servedNames: readonly string[]): void {
    const views = () => this.#views();
    const waiting = () => [...new Set([...this.#queued.values()].flat())];
    const registers = [this.#registry];
    new Gauge({
      name: `${prefix}lora_requests_info`,
      help: "Adapters by model id and control vectors as model/name: loaded (running), and of queued requests (waiting). Value: when, in Unix seconds.",
      labelNames: ["max_lora", "running_lora_adapters", "waiting_lora_adapters"],
      registers,
      collect() {
        this.reset();
        const loaded = views().flatMap(({ model }) => loadedNames(model, servedNames));
        const labels = {
          // No more than are there: a request for another one is refused and loads nothing, so it must not come here.
          max_lora: String(loaded.length),
          // A forward takes rows of any adapter, so whatever is loaded is ready.
          running_lora_adapters: loaded.join(","),
          waiting_lora_adapters: waiting().join(","),
        };
        this.set(labels, Math.floor(Date.now() / 1000));
      },
    });
    new Gauge({
      name: `${prefix}cache_config_info`,
      help: "How the key/value cache is cut: tokens of a block, and blocks. Always 1.",
      labelNames: ["model_name", "block_size", "num_gpu_blocks"],
      registers,
      collect() {
        this.reset();
        for (const { model, status } of views()) {
          const { count, tokens } = status.cacheBlocks;
          this.set({ model_name: model.id, block_size: String(tokens), num_gpu_blocks: String(count) }, 1);
        }
      },
    });
  }
}

/** As requests ask for them: adapters in `model`, vectors as the routes name them. */
function loadedNames(model: ModelInfo, servedNames: readonly string[]): readonly string[] {
  const adapters = servedModelsOf(model, servedNames).filter(({ adapter }) => adapter !== null);
  return [...adapters.map(({ id }) => id), ...model.vectors.map(({ name }) => vectorName(model.id, name))];
}

function steeringNames({
  baseId,
  modelName,
  request: { steering },
}: {
  readonly baseId: string;
  readonly modelName: string;
  readonly request: GenerationRequest;
}): readonly string[] {
  const adapters = steering.kind === "steered" ? [modelName] : [];
  const vectors = steering.kind === "plain" ? [] : steering.vectors;
  return [...adapters, ...vectors.map(({ name }) => vectorName(baseId, name))];
}

function vectorName(baseId: string, name: string): string {
  return `${baseId}/${name}`;
}
