/**
 * Steering, as TOAST has it: every token is computed twice, and what the first pass saw decides what the second pays
 * attention to.
 *
 *   1. The bottom-up pass runs the frozen decoder as it is (model/decoder.ts). Its outputs, before the final norm, are
 *      kept for each sequence: hidden-states.ts.
 *   2. The adapter reads them: adapter.ts runs its graph, which convert/adapter-graph.ts wrote. A hidden state z is
 *        selected:  relevance = clamp(cos(z, task embedding), 0, 1), selected features = z · relevance
 *        fed back:  through the channel transform, the feedback layers and each layer's value projection: linear
 *                   throughout, so convert/fold.ts made one matrix a layer of it.
 *      The results are the token's top-down values, one vector a layer, times that layer's gain: layer-gains.ts.
 *   3. The steered pass runs the same decoder over the same tokens in a cache of its own, with the top-down values
 *   added to the values of every attention layer. The text is sampled from its logits.
 *
 * Control vectors (control-vector.ts) are the other way to steer: one pass, with something added to the residual stream
 * behind its layers. Both go together: vector-stack.ts makes one addition of all vectors of a request, and it is added
 * in the pass that decides.
 *
 * feedback.ts goes from 1 to 3 for all steered rows of a forward; token-steering.ts says what steering did with a
 * token, for a client that asks. When each pass runs is the engine's affair: engine/loop/scheduler.ts.
 *
 * @see Shi, Gai, Darrell, Wang, "TOAST: Transfer Learning via Attention Steering", arXiv 2305.15542
 */

/** Layers steered, both ends included, counted from 0: `[0, L-1]` is every layer. */
export type LayerRange = readonly [from: number, to: number];

/** One control vector of a request's stack. */
export interface VectorUse {
  readonly name: string;
  /** Factor on its directions, -4 … 4. Never 0: such a vector is left out. */
  readonly strength: number;
  /** Its directions of these layers are added, the others are not. */
  readonly layers: LayerRange;
}

/**
 * How a request is steered: by a stack of at most one adapter and up to 8 control vectors. A variant, never an optional
 * argument: whoever handles a request says what happens in each case, and the compiler checks that steering cannot be
 * dropped on the way.
 */
export type Steering =
  | { readonly kind: "plain" }
  /** Control vectors alone: one pass, which they act in. */
  | {
      readonly kind: "vectors";
      /** At least one. */
      readonly vectors: readonly VectorUse[];
    }
  | {
      readonly kind: "steered";
      /** Adapter name, without the base's id. */
      readonly adapter: string;
      /** Factor on the top-down values: 1 is what was trained. Never 0: that is one of the other kinds. */
      readonly strength: number;
      readonly layers: LayerRange;
      /** Act in the steered pass, the one that decides; the bottom-up pass stays everybody's. */
      readonly vectors: readonly VectorUse[];
    };

/** The control vectors of a stack. */
export function vectorsOf(steering: Steering): readonly VectorUse[] {
  return steering.kind === "plain" ? [] : steering.vectors;
}
