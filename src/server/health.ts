import { z } from "zod";
import type { healthSchema } from "../openai/model-object.js";
import { responseSchemas } from "../openai/named-schemas.js";
import type { Call } from "./route.js";

export const aliveSchema = z
  .object({
    status: z.enum(["alive", "failed"]),
    failures: z
      .array(z.string())
      .optional()
      .describe("Which engines that had served are gone, and cannot be started again."),
  })
  .describe("Answer of GET /livez: 503 when a new process would serve more than this one.")
  .register(responseSchemas, { id: "Alive" });

/** 503 once an engine that had served is gone for good: whoever watches the process is to start another one. */
export function alive({ context, deps: { registry } }: Call): Response {
  const failures = [...registry.losses];
  const respond = (status: 200 | 503, body: z.input<typeof aliveSchema>) =>
    context.json(body, status, { "cache-control": "no-store" });
  return failures.length === 0 ? respond(200, { status: "alive" }) : respond(503, { status: "failed", failures });
}

/** 200 only when a generation sent now would be taken. */
export function health({ context, deps: { registry, running } }: Call): Response {
  const { phase } = registry;
  const respond = (status: 200 | 503, body: z.input<typeof healthSchema>) =>
    context.json(body, status, { "cache-control": "no-store" });
  if (running.draining) return respond(503, { status: "draining", running: running.count });
  switch (phase.kind) {
    case "loading":
      return respond(503, { status: "loading", stage: phase.stage, fraction: phase.fraction });
    case "failed":
      return respond(503, { status: "failed", message: phase.message });
    case "ready": {
      const [away] = [...registry.restarts, ...registry.silences];
      if (away !== undefined) return respond(503, { status: "failed", message: away });
      const models = registry.models.map(({ id }) => id);
      const failures = [...registry.failures];
      const failed = failures.length === 0 ? {} : { failures };
      return respond(200, { status: "ready", running: running.count, models, ...failed });
    }
  }
}
