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
 * feedback.ts goes from 1 to 3 for all steered rows of a forward; token-steering.ts says what steering did with a
 * token, for a client that asks. When each pass runs is the engine's affair: engine/loop/scheduler.ts.
 *
 * @see Shi, Gai, Darrell, Wang, "TOAST: Transfer Learning via Attention Steering", arXiv 2305.15542
 */

/** Layers steered, both ends included, counted from 0: `[0, L-1]` is every layer. */
export type LayerRange = readonly [from: number, to: number];

/**
 * How a request is steered. A variant, never an optional argument: whoever handles a request says what happens in each
 * case, and the compiler checks that steering cannot be dropped on the way.
 */
export type Steering =
  | { readonly kind: "plain" }
  | {
      readonly kind: "steered";
      /** Adapter name, without the base's id. */
      readonly adapter: string;
      /** Factor on the top-down values: 1 is what was trained. Never 0: that is `plain`. */
      readonly strength: number;
      readonly layers: LayerRange;
    };
