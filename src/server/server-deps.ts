import type { AdapterLibrary } from "../adapters/adapter-library.js";
import type { EngineRegistry } from "../engine/engine-registry.js";
import type { VectorLibrary } from "../vectors/vector-library.js";
import type { ArenaSettings } from "./arena/arena-settings.js";
import type { BodyRoom } from "./body-room.js";
import type { Edge } from "./edge/edge.js";
import type { RunningRequests } from "./generate/running-requests.js";

export interface ServerLimits {
  readonly maxBodyBytes: number;
  /** That one request may ask for: choices × tokens. */
  readonly maxRequestTokens: number;
  /** A waiting stream gets a comment after this long without a frame. */
  readonly keepAliveMs: number;
}

/** All that the HTTP edge needs; nothing of it is global, so tests build as many servers as they like. */
export interface ServerDeps {
  readonly registry: EngineRegistry;
  readonly running: RunningRequests;
  readonly adapters: { readonly library: AdapterLibrary; readonly maxBytes: number };
  readonly vectors: VectorLibrary;
  readonly limits: ServerLimits;
  readonly bodies: BodyRoom;
  readonly arena: ArenaSettings;
  readonly edge: Edge;
  /** Unix seconds: `created` of the models. */
  readonly startedAt: number;
  /** Hears of failures that are the server's own, never of a client's mistake. */
  readonly logError: (requestId: string, error: unknown) => void;
}
