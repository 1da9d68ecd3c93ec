import { z } from "zod";
import type { healthSchema } from "../openai/model-object.js";
import { responseSchemas } from "../openai/named-schemas.js";
import type { Call } from "./route.js";

export const aliveSchema = z
  .object({ status: z.literal("alive") })
  .describe("Answer of GET /livez.")
  .register(responseSchemas, { id: "Alive" });

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
      const models = registry.models.map(({ id }) => id);
      const failures = [...registry.failures];
      const failed = failures.length === 0 ? {} : { failures };
      return respond(200, { status: "ready", running: running.count, models, ...failed });
    }
  }
}
