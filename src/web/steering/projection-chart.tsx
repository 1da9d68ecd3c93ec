import { short } from "../parts/format.js";
import "./projection-chart.css";

const width = 360;
const height = 150;
const top = 6;
const bottom = 20;

/** Bars on both sides of 0: how far the stream lies along a vector behind each layer, before the addition and after. */
export function ProjectionChart({
  name,
  before,
  after,
  first,
  subject,
}: {
  readonly name: string;
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** The layer of the first value. */
  readonly first: number;
  readonly subject: string;
}) {
  const values = [...before, ...after];
  const most = Math.max(0, ...values);
  const least = Math.min(0, ...values);
  const span = Math.max(most - least, 1e-9);
  const y = (value: number) => top + ((most - value) / span) * (height - top - bottom);
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
            {at % every === 0 ? (
              <text x={(at + 0.5) * slot} y={height - 5} class="projection-layer">
                {first + at}
              </text>
            ) : null}
            <title>{words[at]}</title>
          </g>
        ))}
        <line x1={0} x2={width} y1={y(0)} y2={y(0)} class="axis" />
      </svg>
      <p class="hint projection-legend">
        <span class="key before" aria-hidden="true" /> before <span class="key after" aria-hidden="true" /> after; from{" "}
        {short(least)} to {short(most)}
      </p>
    </>
  );
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
