import { maxVectorStrength } from "../vector-stack.js";
import "./range-scale.css";

/** A line from −2 to 2 with the recommended strengths on it; the words stand beside it. */
export function RangeScale({ range }: { readonly range: readonly [low: number, high: number] | null }) {
  const share = (strength: number) => Math.min(1, Math.max(0, strength / (2 * maxVectorStrength) + 0.5));
  return (
    <span class="range-scale" aria-hidden="true">
      {range === null ? null : <span class="held" style={{ "--from": share(range[0]), "--to": share(range[1]) }} />}
      <span class="zero" />
    </span>
  );
}
