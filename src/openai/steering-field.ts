import { z } from "zod";
import type { ServedModel } from "../engine/served-model.js";
import { ToastError } from "../errors.js";
import type { Steering } from "../steering/steering.js";
import { requestSchemas } from "./named-schemas.js";
import { field, flag, integer, number, optional, text } from "./request-fields.js";

/** The body's `steering`: what steers the answer, over what the model id says. On every generating endpoint. */
export const steeringField = z
  .strictObject(
    {
      adapter: optional(text("an adapter's name")).describe(
        "Adapter name without the base's id; default: the one of the model id.",
      ),
      strength: optional(number(0, 4)).describe(
        "Factor on the top-down values; 1 is what was trained, 0 is the base model itself.",
      ),
      // Checked against the model's depth where the model is known.
      layers: optional(
        z
          .tuple([integer(0), integer(0)], field("[from, to], two layer numbers"))
          .refine(([from, to]) => from <= to, "must be [from, to] with from ≤ to."),
      ).describe("Steered layers, both ends included, counted from 0; default: all."),
      explain: optional(flag()).describe("Whether the answer tells each token's relevance and top-down gains."),
    },
    field("an object such as {strength: 0.5}"),
  )
  .describe("What steers the answer.")
  .register(requestSchemas, { id: "Steering" });

export type SteeringField = z.output<typeof steeringField>;

/** What of it can be chosen beforehand, as a contestant's is. What was left out stays out. */
export type SteeringChoice = z.output<typeof steeringChoice>;
export const steeringChoice = steeringField.omit({ explain: true }).transform((choice) => {
  const given = Object.entries(choice).filter(([, value]) => value !== null);
  return Object.fromEntries(given) as Partial<{ [Key in keyof typeof choice]: NonNullable<(typeof choice)[Key]> }>;
});

/**
 * The body's `steering` over the model id's adapter. Strength 0 *is* the plain base model: it becomes the variant that
 * costs one pass and cannot differ from the base by a bit.
 * @throws ToastError `invalid_request` when the steering does not fit the model.
 */
export function resolveSteering(
  steering: SteeringField | null,
  { id, base, adapter: ownAdapter }: ServedModel,
): Steering {
  const adapter = steering?.adapter ?? ownAdapter?.name ?? null;
  const known = base.adapters.map(({ name }) => name);
  if (adapter !== null && !known.includes(adapter)) {
    throw new ToastError("invalid_request", `The model '${base.id}' has no adapter '${adapter}'. ${listed(known)}`, {
      param: "steering.adapter",
    });
  }
  const lastLayer = base.layers - 1;
  const layers = steering?.layers ?? null;
  if (layers !== null && layers[1] > lastLayer) {
    const message = `'steering.layers' must lie within 0 and ${lastLayer}: the model '${base.id}' has ${base.layers} layers.`;
    throw new ToastError("invalid_request", message, { param: "steering.layers" });
  }
  const strength = steering?.strength ?? null;
  if (strength === 0) {
    return { kind: "plain" };
  }
  if (adapter === null) {
    if (strength !== null || layers !== null) {
      const message = `'steering.adapter' is missing: the model id '${id}' names no adapter to steer with. ${listed(known)}`;
      throw new ToastError("invalid_request", message, { param: "steering.adapter" });
    }
    return { kind: "plain" };
  }
  return { kind: "steered", adapter, strength: strength ?? 1, layers: layers ?? [0, lastLayer] };
}

function listed(adapters: readonly string[]): string {
  return adapters.length === 0 ? "It has none." : `Its adapters: ${adapters.join(", ")}.`;
}
