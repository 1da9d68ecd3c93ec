import { short } from "../parts/format.js";
import "./gains-chart.css";

const width = 360;
const height = 132;
const top = 18;
const bottom = 22;
/** With more bars than this there is no room for a number on each. */
const mostNumbers = 12;

/**
 * Bars: how strongly each layer was steered (root mean square of what was added to its values). A line on each bar is
 * the mean of the answer.
 */
export function GainsChart({
  gains,
  mean,
  most,
  subject,
}: {
  readonly gains: readonly number[];
  readonly mean: readonly number[];
  /**
   * What the axis ends at: the same for every strength and token, so that a bar's height is its gain. Longer bars are
   * cut there.
   */
  readonly most: number;
  readonly subject: string;
}) {
  const max = Math.max(most, 1e-9);
  const slot = width / gains.length;
  const y = (gain: number) => top + (1 - Math.min(1, gain / max)) * (height - top - bottom);
  const words = gains.map((gain, layer) => `layer ${layer}: ${short(gain)}`).join(", ");
  const every = Math.ceil(gains.length / 16);
  return (
    <svg
      class="gains"
      viewBox={`0 0 ${width} ${height}`}
      role="img"
      aria-label={`Gain of each layer, ${subject}. ${words}.`}
    >
      <line x1={0} x2={width} y1={top} y2={top} class="axis-end" />
      <text x={width} y={top - 5} class="gain-end">
        {short(max)}
      </text>
      <line x1={0} x2={width} y1={height - bottom} y2={height - bottom} class="axis" />
      {gains.map((gain, layer) => {
        const x = layer * slot;
        const meanOfLayer = mean[layer];
        return (
          <g key={layer}>
            <rect
              x={x + slot * 0.18}
              width={slot * 0.64}
              y={y(gain)}
              height={Math.max(0, height - bottom - y(gain))}
              rx={2}
              class="gain-bar"
            >
              <title>{`Layer ${layer}: ${short(gain)}`}</title>
            </rect>
            {meanOfLayer === undefined ? null : (
              <line x1={x + slot * 0.1} x2={x + slot * 0.9} y1={y(meanOfLayer)} y2={y(meanOfLayer)} class="gain-mean" />
            )}
            {gain > max ? (
              <text x={x + slot / 2} y={top + 9} class="gain-cut">
                ▴
              </text>
            ) : null}
            {gains.length > mostNumbers ? null : (
              <text x={x + slot / 2} y={Math.min(y(gain), y(meanOfLayer ?? gain)) - 5} class="gain-number">
                {short(gain)}
              </text>
            )}
            {layer % every === 0 ? (
              <text x={x + slot / 2} y={height - 7} class="gain-layer">
                {layer}
              </text>
            ) : null}
          </g>
        );
      })}
    </svg>
  );
}
