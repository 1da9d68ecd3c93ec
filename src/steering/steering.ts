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
