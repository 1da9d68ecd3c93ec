import type { ServerSpeed } from "./load-generator.js";
import type { Machine } from "./machine.js";
import type { Acceptance } from "./measure-acceptance.js";
import type { Bandwidth } from "./measure-bandwidth.js";
import type { ContextSpeed } from "./measure-contexts.js";
import type { DecodeSpeed } from "./measure-decode.js";
import type { GuessSpeed } from "./measure-guesses.js";
import type { HealthLatency } from "./measure-health-latency.js";
import type { MaskSpeed } from "./measure-masks.js";
import type { PeerSpeed } from "./measure-peer.js";
import type { PrefillSpeed } from "./measure-prefill.js";
import type { Soak } from "./measure-soak.js";
import type { Ratio } from "./ratios.js";

/** What `bench --json` prints of an engine. Null: not asked for, or not to be had of this model. */
export interface EngineReport {
  readonly kind: "engine";
  readonly machine: Machine;
  readonly model: {
    readonly id: string;
    readonly quantization: string;
    readonly weights: "real" | "random";
    readonly layers: number;
    readonly contextLength: number;
    /** Name of the one that steers. */
    readonly adapter: string | null;
  };
  readonly settings: {
    readonly rounds: number;
    readonly tokens: number;
    readonly temperature: number;
    readonly seed: number;
    readonly streams: readonly number[];
    /** As asked for; lengths that the model's context does not hold are not measured. */
    readonly prefill: readonly number[];
    readonly contexts: readonly number[];
    /** Threads of one forward; null: the engine's choice. */
    readonly threads: number | null;
  };
  readonly decode: readonly DecodeSpeed[] | null;
  readonly prefill: readonly PrefillSpeed[] | null;
  readonly contexts: readonly ContextSpeed[] | null;
  readonly acceptance: readonly Acceptance[] | null;
  readonly guesses: readonly GuessSpeed[] | null;
  readonly peer: readonly PeerSpeed[] | null;
  readonly masks: readonly MaskSpeed[] | null;
  readonly bandwidth: Bandwidth | null;
  readonly health: HealthLatency | null;
  readonly soak: Soak | null;
  /** Of the process with one engine, before a second one was loaded to compare with; bytes. */
  readonly peakMemory: number;
  readonly ratios: readonly Ratio[];
}

/** What `bench --url --json` prints of a server; the machine is that of the client. */
export interface ServerReport {
  readonly kind: "server";
  readonly machine: Machine;
  readonly server: { readonly baseUrl: string; readonly model: string };
  readonly settings: {
    readonly rounds: number;
    readonly requests: number;
    readonly tokens: number;
    readonly temperature: number;
    readonly seed: number;
    readonly ignoreEos: boolean;
  };
  readonly speeds: readonly ServerSpeed[];
  readonly ratios: readonly Ratio[];
}
