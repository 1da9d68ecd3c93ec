import { short } from "../parts/format.js";
import { GainsChart } from "./gains-chart.js";
import { meanGains, type ShadeBy } from "./shading.js";
import { scaleOf, select, selected, selectedIn, shadeBy } from "./steering-state.js";
import type { TokenRun } from "./token-runs.js";
import { describe, TokenText } from "./token-text.js";
import "./explanation.css";

const shadings: readonly { readonly by: ShadeBy; readonly label: string; readonly meaning: string }[] = [
  {
    by: "relevance",
    label: "Relevance",
    meaning: "How much a token's features point the way of the task: cosine with the adapter's task embedding, 0 to 1.",
  },
  {
    by: "gain",
    label: "Gain",
    meaning: "How much was added to the attention values at this token, over all layers.",
  },
  {
    by: "draft",
    label: "Drafts",
    meaning:
      "The base pass guesses each next token. A guess that the steered pass confirms is accepted and saves a step.",
  },
];

/** What each token was given by the steering, in shades, and by layer. */
export function Explanation({
  runs,
  promptRuns,
}: {
  readonly runs: readonly TokenRun[];
  readonly promptRuns: readonly TokenRun[];
}) {
  const by = shadeBy.value;
  const meaning = shadings.find((shading) => shading.by === by)?.meaning ?? "";
  const place = selected.value;
  const chosen = place === null ? null : ((place.where === "output" ? runs : promptRuns)[place.at] ?? null);
  const mean = meanGains(runs.flatMap(({ tokens }) => tokens));
  const gains = chosen === null ? mean : (chosen.tokens.find((token) => token.gains.length > 0)?.gains ?? []);
  return (
    <div class="explanation">
      <section aria-label="Shading" class="legend">
        <fieldset class="segments">
          <legend>Shade tokens by</legend>
          {shadings.map((shading) => (
            <label key={shading.by} class={by === shading.by ? "on" : ""}>
              <input
                type="radio"
                name="shade-by"
                checked={by === shading.by}
                onChange={() => {
                  shadeBy.value = shading.by;
                }}
              />
              {shading.label}
            </label>
          ))}
        </fieldset>
        <p class="hint">{meaning}</p>
        {by === "draft" ? (
          <p class="swatches">
            <span class="token draft-accepted">accepted</span> <span class="token draft-refused">refused</span>{" "}
            <span class="token">no draft</span>
          </p>
        ) : (
          <p class="ramp-row">
            <span>0</span>
            <span class="ramp" aria-hidden="true" />
            <span>{short(scaleOf(runs).max)} in the answer</span>
            {promptRuns.length === 0 ? null : <span>· {short(scaleOf(promptRuns).max)} in the prompt</span>}
          </p>
        )}
      </section>
      <section aria-label="Gain of each layer" class="token-detail">
        <h2>{chosen === null ? "Gain by layer, mean of the answer" : "Gain by layer, this token"}</h2>
        <p class="token-facts">
          {chosen === null ? "Point at a token, or walk with the arrow keys, for its own numbers." : describe(chosen)}
        </p>
        {gains.length === 0 ? (
          <p class="hint">No steered pass read this token, so nothing was added at it.</p>
        ) : (
          <GainsChart
            gains={gains}
            mean={chosen === null ? [] : mean}
            subject={chosen === null ? "mean of the answer" : "the chosen token"}
          />
        )}
      </section>
      {promptRuns.length === 0 ? null : (
        <section aria-label="The prompt" class="prompt-tokens">
          <h2>The prompt, as the model reads it</h2>
          <TokenText
            label="Tokens of the prompt"
            runs={promptRuns}
            by={by}
            scale={scaleOf(promptRuns)}
            forkAt={null}
            selected={selectedIn("prompt")}
            onSelect={(at) => select("prompt", at)}
          />
        </section>
      )}
    </div>
  );
}
