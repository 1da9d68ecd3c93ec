import { type Kind, type Standing, ticks, whole } from "./board.js";
import { ScrollBox } from "./scroll-box.js";

const plotWidth = 760;
const rowHeight = 34;
/** Of thirty characters. */
const labelWidth = 250;

/** Of everybody together. */
const average = 1000;

/** Ratings with their intervals on one axis, best first. */
export function RatingsPlot({
  contestants,
  kindOf,
}: {
  readonly contestants: readonly Standing[];
  readonly kindOf: (contestant: string) => Kind;
}) {
  const rated = contestants.flatMap(({ contestant, rating, low, high }) =>
    rating === null ? [] : [{ contestant, rating, low: low ?? rating, high: high ?? rating }],
  );
  if (rated.length === 0) return null;
  const least = Math.min(...rated.map(({ low }) => low));
  const most = Math.max(...rated.map(({ high }) => high));
  const margin = Math.max(10, (most - least) * 0.06);
  const x = (rating: number) =>
    labelWidth + ((rating - least + margin) / (most - least + 2 * margin)) * (plotWidth - labelWidth - 10);
  const height = rated.length * rowHeight + 30;
  const words = rated.map(
    ({ contestant, rating, low, high }) => `${contestant} ${whole(rating)} (${whole(low)} to ${whole(high)})`,
  );
  return (
    <ScrollBox label="Plot of the ratings">
      <svg
        class="ratings"
        viewBox={`0 0 ${plotWidth} ${height}`}
        role="img"
        aria-label={`Ratings: ${words.join("; ")}.`}
      >
        {ticks(least - margin, most + margin, 6).map((tick) => (
          <g key={tick}>
            <line x1={x(tick)} x2={x(tick)} y1={0} y2={height - 24} class="grid-line" />
            <text x={x(tick)} y={height - 8} class="tick">
              {tick}
            </text>
          </g>
        ))}
        {average > least - margin && average < most + margin ? (
          <line x1={x(average)} x2={x(average)} y1={0} y2={height - 24} class="average">
            <title>1000, the average</title>
          </line>
        ) : null}
        {rated.map(({ contestant, rating, low, high }, row) => {
          const y = row * rowHeight + rowHeight / 2;
          return (
            <g key={contestant} class={`rated kind-${kindOf(contestant)}`}>
              <text x={labelWidth - 12} y={y + 4} class="row-label">
                {contestant.length > 30 ? `${contestant.slice(0, 29)}…` : contestant}
              </text>
              <line x1={x(low)} x2={x(high)} y1={y} y2={y} class="interval" />
              <line x1={x(low)} x2={x(low)} y1={y - 5} y2={y + 5} class="interval" />
              <line x1={x(high)} x2={x(high)} y1={y - 5} y2={y + 5} class="interval" />
              <circle cx={x(rating)} cy={y} r={5} class="rating-dot">
                <title>{`${whole(rating)} (${whole(low)} to ${whole(high)})`}</title>
              </circle>
            </g>
          );
        })}
      </svg>
    </ScrollBox>
  );
}
