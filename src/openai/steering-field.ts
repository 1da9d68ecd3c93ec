import { z } from "zod";
import type { ServedModel } from "../engine/served-model.js";
import { ToastError } from "../errors.js";
import { maxVectorStrength, maxVectors } from "../steering/control-vector.js";
import type { LayerRange, Steering, VectorUse } from "../steering/steering.js";
import { list } from "./list-fields.js";
import { requestSchemas } from "./named-schemas.js";
import { field, flag, integer, number, optional, parseBody, text } from "./request-fields.js";

/** [from, to]; checked against the model's depth where the model is known. */
const layerRange = z
  .tuple([integer(0), integer(0)], field("[from, to], two layer numbers"))
  .refine(([from, to]) => from <= to, "must be [from, to] with from ≤ to.");

const vectorUse = z
  .strictObject(
    {
      name: text("a control vector's name"),
      strength: optional(number(-maxVectorStrength, maxVectorStrength)).describe(
        "Factor on its directions; default: 1. A minus steers the other way, 0 leaves it out.",
      ),
      layers: optional(layerRange).describe(
        "Layers behind which it is added, both ends included, counted from 0; default: all that it has directions for.",
      ),
    },
    field("an object such as {name: 'happy', strength: 0.8}"),
  )
  .register(requestSchemas, { id: "VectorUse" });

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
      layers: optional(layerRange).describe("Steered layers, both ends included, counted from 0; default: all."),
      vectors: optional(
        list(vectorUse, { expected: "an array of control vectors", item: "control vector", max: maxVectors }),
      ).describe("Control vectors that are added to the residual stream, beside the adapter or alone."),
      explain: optional(flag()).describe(
        "Whether the answer tells each token's relevance, top-down gains and vectors.",
      ),
    },
    field("an object such as {strength: 0.5}"),
  )
  .describe("What steers the answer.")
  .register(requestSchemas, { id: "Steering" });

export type SteeringField = z.output<typeof steeringField>;

/** What of it can be chosen beforehand, as a contestant's is. What was left out stays out. */
export type SteeringChoice = z.output<typeof steeringChoice>;
export const steeringChoice = steeringField.omit({ explain: true }).transform(({ vectors, ...adapter }) => ({
  ...given(adapter),
  ...(vectors === null ? {} : { vectors: vectors.map((vector) => ({ name: vector.name, ...given(vector) })) }),
}));

/** The fields that are not null. */
function given<Fields extends object>(fields: Fields) {
  const entries = Object.entries(fields).filter(([, value]) => value !== null);
  return Object.fromEntries(entries) as Partial<{ [Key in keyof Fields]: NonNullable<Fields[Key]> }>;
}

/**
 * Whether a choice could steer the model, before anything is asked of it.
 * @throws ToastError `invalid_request`, as a request with it would be refused.
 */
export function checkSteering(choice: SteeringChoice, model: ServedModel): void {
  resolveSteering(parseBody(steeringField, choice), model);
}

/**
 * The body's `steering` over the model id's adapter. Strength 0 *is* the plain base model: an adapter of strength 0
 * becomes the variant that costs one pass, a vector of strength 0 is left out, and where nothing is left the text
 * cannot differ from the base's by a bit.
 * @throws ToastError `invalid_request` when the steering does not fit the model.
 */
export function resolveSteering(steering: SteeringField | null, model: ServedModel): Steering {
  const adapter = resolveAdapter(steering, model);
  const vectors = (steering?.vectors ?? []).flatMap((vector, index) => resolveVector(vector, index, model) ?? []);
  if (adapter !== null) return { kind: "steered", ...adapter, vectors };
  return vectors.length === 0 ? { kind: "plain" } : { kind: "vectors", vectors };
}

/** @returns null where no adapter steers. */
function resolveAdapter(
  steering: SteeringField | null,
  { id, base, adapter: ownAdapter }: ServedModel,
): Omit<Extract<Steering, { kind: "steered" }>, "kind" | "vectors"> | null {
  const adapter = steering?.adapter ?? ownAdapter?.name ?? null;
  const known = base.adapters.map(({ name }) => name);
  if (adapter !== null && !known.includes(adapter)) {
    const message = `The model '${base.id}' has no adapter '${adapter}'. ${listed("adapters", known)}`;
    throw invalid(message, "steering.adapter");
  }
  const lastLayer = base.layers - 1;
  const layers = steering?.layers ?? null;
  requireLayers(layers, base, "steering.layers");
  const strength = steering?.strength ?? null;
  if (strength === 0) return null;
  if (adapter === null) {
    if (strength !== null || layers !== null) {
      const message = `'steering.adapter' is missing: the model id '${id}' names no adapter to steer with. ${listed("adapters", known)}`;
      throw invalid(message, "steering.adapter");
    }
    return null;
  }
  return { adapter, strength: strength ?? 1, layers: layers ?? [0, lastLayer] };
}

/** @returns null for one that adds nothing. */
function resolveVector(
  { name, strength, layers }: z.output<typeof vectorUse>,
  index: number,
  { base }: ServedModel,
): VectorUse | null {
  const param = `steering.vectors[${index}]`;
  const known = base.vectors.find((vector) => vector.name === name);
  if (known === undefined) {
    const names = base.vectors.map((vector) => vector.name);
    const message = `The model '${base.id}' has no control vector '${name.slice(0, 100)}'. ${listed("control vectors", names)}`;
    throw invalid(message, `${param}.name`);
  }
  requireLayers(layers, base, `${param}.layers`);
  const [first, last] = known.layers;
  if (layers !== null && (layers[1] < first || layers[0] > last)) {
    const message = `'${param}.layers' leaves nothing of '${name}', which has directions for layers ${first} to ${last}.`;
    throw invalid(message, `${param}.layers`);
  }
  return strength === 0 ? null : { name, strength: strength ?? 1, layers: layers ?? known.layers };
}

function requireLayers(layers: LayerRange | null, { id, layers: count }: ServedModel["base"], param: string): void {
  if (layers === null || layers[1] < count) return;
  throw invalid(`'${param}' must lie within 0 and ${count - 1}: the model '${id}' has ${count} layers.`, param);
}

function listed(what: string, names: readonly string[]): string {
  return names.length === 0 ? "It has none." : `Its ${what}: ${names.join(", ")}.`;
}

function invalid(message: string, param: string): ToastError {
  return new ToastError("invalid_request", message, { param });
}
