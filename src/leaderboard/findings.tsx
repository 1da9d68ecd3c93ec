import { type Leaderboard, pValue } from "./board.js";

/** What has to be known before a number is believed. */
export function Findings({ position, notes }: Pick<Leaderboard, "position" | "notes">) {
  return (
    <section class="findings" aria-labelledby="findings">
      <h2 id="findings">What the votes prove, and what not</h2>
      <ul>
        {notes.map((note) => (
          <li key={note}>{note}</li>
        ))}
        <li>
          Position: the left answer won {position.left} times, the right {position.right} times
          {position.p === null
            ? ""
            : `; ${position.p < 0.05 ? "judges favour a side" : "no sign of a favoured side"} (p ${pValue(position.p)})`}
          .
        </li>
      </ul>
    </section>
  );
}
