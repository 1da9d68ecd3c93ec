import { short } from "../parts/format.js";
import "./projection-chart.css";

const width = 360;
const height = 150;
const top = 16;
const bottom = 20;

/** Bars on both sides of 0: how far the stream lies along a vector behind each layer, before the addition and after. */
export function ProjectionChart({
  name,
  before,
  after,
  first,
  subject,
  most,
}: {
  readonly name: string;
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** The layer of the first value. */
  readonly first: number;
  readonly subject: string;
  /** What the axis ends at on both sides: the same for every strength and token. Longer bars are cut there. */
  readonly most: number;
}) {
  const end = Math.max(most, 1e-9);
  const y = (value: number) => top + ((end - clamped(value, end)) / (2 * end)) * (height - top - bottom);
  const slot = width / after.length;
  const every = Math.ceil(after.length / 16);
  const words = after.map(
    (value, at) => `layer ${first + at}: ${short(before[at] ?? 0)} before, ${short(value)} after`,
  );
  return (
    <>
      <svg
        class="projections"
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-label={`Along ${name}, ${subject}. ${words.join("; ")}.`}
      >
        {after.map((value, at) => (
          <g key={at}>
            <Bar x={at * slot + slot * 0.12} width={slot * 0.36} zero={y(0)} end={y(before[at] ?? 0)} kind="before" />
            <Bar x={at * slot + slot * 0.52} width={slot * 0.36} zero={y(0)} end={y(value)} kind="after" />
            {Math.abs(value) > end ? (
              <text x={(at + 0.7) * slot} y={value > 0 ? top + 8 : height - bottom - 1} class="projection-cut">
                {value > 0 ? "▴" : "▾"}
              </text>
            ) : null}
            {at % every === 0 ? (
              <text x={(at + 0.5) * slot} y={height - 5} class="projection-layer">
                {first + at}
              </text>
            ) : null}
            <title>{words[at]}</title>
          </g>
        ))}
        <line x1={0} x2={width} y1={y(0)} y2={y(0)} class="axis" />
        <line x1={0} x2={width} y1={top} y2={top} class="axis-end" />
        <line x1={0} x2={width} y1={height - bottom} y2={height - bottom} class="axis-end" />
        <text x={width} y={top - 4} class="projection-end">
          {short(most)}
        </text>
      </svg>
      <p class="hint projection-legend">
        <span class="key before" aria-hidden="true" /> before <span class="key after" aria-hidden="true" /> after; the
        axis ends at ±{short(most)}
      </p>
    </>
  );
}

function clamped(value: number, end: number): number {
  return Math.min(end, Math.max(-end, value));
}

function Bar({
  x,
  width,
  zero,
  end,
  kind,
}: {
  readonly x: number;
  readonly width: number;
  readonly zero: number;
  readonly end: number;
  readonly kind: "before" | "after";
}) {
  return <rect x={x} width={width} y={Math.min(zero, end)} height={Math.abs(zero - end)} class={kind} />;
}
