import { short } from "../parts/format.js";
import type { VectorEntry } from "../wire/server.js";
import { layerWindows } from "./trials.js";
import "./layer-chart.css";

const width = 640;
const height = 150;
const top = 8;
const bottom = 34;

/** What a vector is in each of its layers: how well it tells its sides apart, and how much it adds. */
export function LayerChart({
  vector: { name, layers, layerSeparations, layerNormShares },
}: {
  readonly vector: VectorEntry;
}) {
  if (layers === null || layerSeparations.length === 0 || layerNormShares.length !== layerSeparations.length) {
    return <p class="hint">{name} was made elsewhere, so how it does in each layer was not measured.</p>;
  }
  return (
    <div class="layer-charts">
      <Bars
        title="How well it tells the two sides apart"
        note="0.5 is guessing, 1 is each time"
        first={layers[0]}
        values={layerSeparations}
        floor={0.5}
        ceiling={1}
        windows={layerWindows(layers)}
      />
      <Bars
        title="How much it adds"
        note="share of the layer's output, at strength 1"
        first={layers[0]}
        values={layerNormShares}
        floor={0}
        ceiling={Math.max(...layerNormShares, 1e-6)}
        windows={layerWindows(layers)}
      />
    </div>
  );
}

function Bars({
  title,
  note,
  first,
  values,
  floor,
  ceiling,
  windows,
}: {
  readonly title: string;
  readonly note: string;
  /** The layer of the first value. */
  readonly first: number;
  readonly values: readonly number[];
  /** What the axis begins and ends with. */
  readonly floor: number;
  readonly ceiling: number;
  readonly windows: readonly (readonly [number, number])[];
}) {
  const slot = width / values.length;
  const words = values.map((value, at) => `layer ${first + at}: ${short(value)}`).join(", ");
  const heightOf = (value: number) =>
    Math.max(0, Math.min(1, (value - floor) / (ceiling - floor))) * (height - top - bottom);
  return (
    <figure>
      <figcaption>
        <b>{title}</b>{" "}
        <span class="hint">
          {note}; up to {short(ceiling)}
        </span>
      </figcaption>
      <svg
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-label={`${title}, by layer. ${words}.`}
        class="layer-bars"
      >
        {values.map((value, at) => (
          <g key={at}>
            <rect
              x={at * slot + slot * 0.15}
              width={slot * 0.7}
              y={height - bottom - heightOf(value)}
              height={heightOf(value)}
              rx={2}
              class="layer-bar"
            >
              <title>{`Layer ${first + at}: ${short(value)}`}</title>
            </rect>
            <text x={(at + 0.5) * slot} y={height - bottom + 14} class="layer-number">
              {first + at}
            </text>
          </g>
        ))}
        <line x1={0} x2={width} y1={height - bottom} y2={height - bottom} class="axis" />
        {windows.map(([from, to]) => (
          <line
            key={from}
            x1={(from - first) * slot + 4}
            x2={(to - first + 1) * slot - 4}
            y1={height - 10}
            y2={height - 10}
            class="window"
          />
        ))}
      </svg>
    </figure>
  );
}
