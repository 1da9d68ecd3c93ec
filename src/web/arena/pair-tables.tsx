import { type Leaderboard, meetingOf, percent } from "../../leaderboard/board.js";
import { ScrollBox } from "../../leaderboard/scroll-box.js";
import { short } from "../parts/format.js";
import "./pair-tables.css";

/** Each contestant against each. */
export function WinMatrix({ board: { contestants, pairs } }: { readonly board: Leaderboard }) {
  const names = contestants.map(({ contestant }) => contestant);
  return (
    <ScrollBox label="Win matrix">
      <table class="matrix">
        <caption>
          How often the row beats the column (a tie, or both bad, is half a win). Coloured is what these votes settle.
        </caption>
        <thead>
          <tr>
            <td />
            {names.map((name) => (
              <th scope="col" key={name}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {names.map((row) => (
            <tr key={row}>
              <th scope="row">{row}</th>
              {names.map((column) => {
                const meeting = row === column ? null : meetingOf(pairs, row, column);
                if (meeting === null) return <td key={column}>–</td>;
                return (
                  <td
                    key={column}
                    class={meeting.separable ? "" : "unsure"}
                    style={{ "--win": meeting.winRate === null ? 0.5 : Number(meeting.winRate.toFixed(3)) }}
                  >
                    {percent(meeting.winRate)}
                    <small>
                      {" "}
                      of {meeting.battles}
                      {meeting.separable ? <span class="visually-hidden">, settled</span> : null}
                    </small>
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollBox>
  );
}

export function Pairs({ board: { pairs } }: { readonly board: Leaderboard }) {
  return (
    <ScrollBox label="Pairs">
      <table>
        <caption>Pairs that met, the higher rated first</caption>
        <thead>
          <tr>
            <th scope="col">Pair</th>
            <th scope="col">Wins</th>
            <th scope="col">Losses</th>
            <th scope="col">Ties</th>
            <th scope="col">Both bad</th>
            <th scope="col">Sign test p</th>
            <th scope="col">Wins at equal length</th>
            <th scope="col">Settled</th>
          </tr>
        </thead>
        <tbody>
          {pairs.map((pair) => (
            <tr key={`${pair.a}|${pair.b}`}>
              <th scope="row">
                {pair.a} – {pair.b}
              </th>
              <td>{pair.wins}</td>
              <td>{pair.losses}</td>
              <td>{pair.ties}</td>
              <td>{pair.bothBad}</td>
              <td>{pair.signTestP === null ? "–" : short(pair.signTestP)}</td>
              <td>{percent(pair.lengthControlledWinRate)}</td>
              <td>{pair.separable ? "yes" : ""}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollBox>
  );
}
