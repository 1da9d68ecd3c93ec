import { percent, places, type Standing, whole } from "./board.js";
import { ScrollBox } from "./scroll-box.js";

export function StandingsTable({ contestants }: { readonly contestants: readonly Standing[] }) {
  return (
    <ScrollBox label="Ratings">
      <table>
        <caption>Ratings</caption>
        <thead>
          <tr>
            <th scope="col">Rank</th>
            <th scope="col">Contestant</th>
            <th scope="col">Rating</th>
            <th scope="col">Interval</th>
            <th scope="col">Votes</th>
            <th scope="col">W / L / T / bad</th>
            <th scope="col">Win rate</th>
            <th scope="col">At equal length</th>
            <th scope="col">Mean length</th>
          </tr>
        </thead>
        <tbody>
          {contestants.map((standing) => (
            <tr key={standing.contestant}>
              <td>{places(standing)}</td>
              <th scope="row">{standing.contestant}</th>
              <td>{whole(standing.rating)}</td>
              <td>
                {whole(standing.low)} – {whole(standing.high)}
              </td>
              <td>{standing.battles}</td>
              <td>
                {standing.wins} / {standing.losses} / {standing.ties} / {standing.bothBad}
              </td>
              <td>{percent(standing.winRate)}</td>
              <td>{percent(standing.lengthControlledWinRate)}</td>
              <td>{whole(standing.meanCharacters)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollBox>
  );
}
