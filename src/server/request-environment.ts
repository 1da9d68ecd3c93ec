import type { HttpBindings } from "@hono/node-server";
import type { RequestIdVariables } from "./edge/request-id.js";
import type { Caller } from "./edge/request-record.js";

/** What handlers find in their context. */
export interface RequestEnvironment {
  /** The connection; tests that call the routes without a port have none. */
  readonly Bindings: Partial<HttpBindings>;
  readonly Variables: RequestIdVariables & { caller: Caller };
}
