import { percent, short } from "../parts/format.js";
import { isRunning } from "../wire/answer.js";
import { GainsChart } from "./gains-chart.js";
import { likeliestAt, tokenFork, tokenOfRun } from "./likeliest.js";
import { LikeliestTokens } from "./likeliest-tokens.js";
import { ProjectionChart } from "./projection-chart.js";
import { countDrafts, isVectorShade, meanGains, meanOf, partsOf, projectionOf, type ShadeBy } from "./shading.js";
import {
  base,
  chooseShading,
  firstLayer,
  gainAxis,
  projectionAxis,
  scaleNow,
  select,
  selected,
  selectedIn,
  shadeBy,
  shadings,
  steered,
} from "./steering-state.js";
import type { ShownRuns, TokenRun } from "./token-runs.js";
import { describe, TokenText } from "./token-text.js";
import "../parts/segments.css";
import "./explanation.css";

const labels = { relevance: "Relevance", gain: "Gain" } as const;

function meaningOf(by: Exclude<ShadeBy, "draft">): string {
  if (!isVectorShade(by)) return meanings[by];
  const { side, name } = partsOf(by);
  const when = side === "before" ? "before anything was added to it" : "with what the vectors add";
  return `How far the stream lies along ${name} at this token, ${when}: its part in that direction, mean of the layers. Below 0 it points the other way.`;
}

const meanings = {
  relevance: "How much a token's features point the way of the task: cosine with the adapter's task embedding, 0 to 1.",
  gain: "How much was added to the attention values at this token, over all layers.",
  draft: "The base pass guesses each next token. A guess that the steered pass confirms is accepted and saves a step.",
} as const;

/**
 * What each token was given by the steering, by layer and in shades, and what else was likely: it stays in sight beside
 * the text.
 */
export function Inspector({ runs, promptRuns }: ShownRuns) {
  if (runs.length === 0 && promptRuns.length === 0) return null;
  const by = shadeBy.value;
  const place = selected.value;
  const chosen = place === null ? null : ((place.where === "output" ? runs : promptRuns)[place.at] ?? null);
  return (
    <aside class="inspector" aria-label="What steering did">
      {isVectorShade(by) ? (
        <ProjectionDetail name={partsOf(by).name} runs={runs} chosen={chosen} />
      ) : (
        <GainsDetail runs={runs} chosen={chosen} />
      )}
      <Likeliest runs={runs} />
      <section aria-label="Shading" class="legend">
        <fieldset class="segments">
          <legend>Shade tokens by</legend>
          {kinds().map((kind) => (
            <label key={kind.label} class={kind.isChosen ? "on" : ""}>
              <input type="radio" name="shade-by" checked={kind.isChosen} onChange={() => chooseShading(kind.by)} />
              {kind.label}
            </label>
          ))}
        </fieldset>
        {isVectorShade(by) ? <SideOfAddition by={by} /> : null}
        {by === "draft" ? null : <p class="hint">{meaningOf(by)}</p>}
        {by === "draft" ? null : <Ramp isSigned={isVectorShade(by)} most={scaleNow().max} />}
        <Engine />
      </section>
    </aside>
  );
}

/** At the token that is pointed at, else where the two answers part. */
function Likeliest({ runs }: Pick<ShownRuns, "runs">) {
  const [left, right] = [base.value, steered.value];
  if (left === null || right === null) return null;
  const place = selectedIn("output");
  const fork = tokenFork(left.ranked, right.ranked, !isRunning(left) && !isRunning(right));
  const at = place === null ? null : tokenOfRun(runs, place);
  return <LikeliestTokens likeliest={likeliestAt(at, fork, left.ranked, right.ranked)} />;
}

/** How the answer was computed is of no weight for what it says. */
function Engine() {
  const { accepted, proposed } = countDrafts(steered.value?.tokens ?? []);
  if (proposed === 0) return null;
  const isMarked = shadeBy.value === "draft";
  return (
    <details class="engine">
      <summary>Engine</summary>
      <p class="hint">
        {meanings.draft} {accepted} of {proposed} drafts accepted ({percent(accepted / proposed)}).
      </p>
      <label class="check">
        <input type="checkbox" checked={isMarked} onChange={() => chooseShading(isMarked ? "relevance" : "draft")} />
        Mark drafts in the text
      </label>
      {isMarked ? (
        <p class="swatches">
          <span class="token draft-accepted">accepted</span> <span class="token draft-refused">refused</span>{" "}
          <span class="token">no draft</span>
        </p>
      ) : null}
    </details>
  );
}

/** The prompt as tokens, in the shades of the answer. */
export function PromptTokens({ promptRuns }: Pick<ShownRuns, "promptRuns">) {
  if (promptRuns.length === 0) return null;
  return (
    <section aria-label="The prompt" class="prompt-tokens">
      <h2>The prompt, as the model reads it</h2>
      <TokenText
        label="Tokens of the prompt"
        runs={promptRuns}
        by={shadeBy.value}
        scale={scaleNow()}
        forkAt={null}
        selected={selectedIn("prompt")}
        onSelect={(at) => select("prompt", at)}
      />
    </section>
  );
}

interface Kind {
  readonly label: string;
  /** What choosing it shades by. */
  readonly by: ShadeBy;
  readonly isChosen: boolean;
}

/** One for each kind of shading, and one for each vector. */
function kinds(): readonly Kind[] {
  const by = shadeBy.value;
  return shadings.value.flatMap((shading): readonly Kind[] => {
    if (shading === "draft") return [];
    if (!isVectorShade(shading)) return [{ label: labels[shading], by: shading, isChosen: by === shading }];
    const { side, name } = partsOf(shading);
    const isChosen = isVectorShade(by) && partsOf(by).name === name;
    return side === "after" ? [{ label: name, by: shading, isChosen }] : [];
  });
}

function SideOfAddition({ by }: { readonly by: Extract<ShadeBy, `${string}:${string}`> }) {
  const { side: chosen, name } = partsOf(by);
  return (
    <fieldset class="segments">
      <legend>Along {name}</legend>
      {(["before", "after"] as const).map((side) => (
        <label key={side} class={side === chosen ? "on" : ""}>
          <input
            type="radio"
            name="shade-side"
            checked={side === chosen}
            onChange={() => chooseShading(`${side}:${name}`)}
          />
          {side === "before" ? "before the addition" : "after it"}
        </label>
      ))}
    </fieldset>
  );
}

function Ramp({ isSigned, most }: { readonly isSigned: boolean; readonly most: number }) {
  return (
    <p class="ramp-row">
      <span>{isSigned ? "against" : "0"}</span>
      <span class={isSigned ? "ramp ramp-signed" : "ramp"} aria-hidden="true" />
      <span>{isSigned ? `along; full shade at ±${short(most)}` : short(most)}</span>
    </p>
  );
}

interface DetailProps {
  readonly runs: readonly TokenRun[];
  /** Null: the mean of the answer. */
  readonly chosen: TokenRun | null;
}

function TokenFacts({ chosen }: Pick<DetailProps, "chosen">) {
  return (
    <p class="token-facts">
      {chosen === null
        ? "Point at a token, or walk with the arrow keys, for its own numbers."
        : describe(chosen, shadeBy.value)}
    </p>
  );
}

function GainsDetail({ runs, chosen }: DetailProps) {
  const mean = meanGains(runs.flatMap(({ tokens }) => tokens));
  const gains = chosen === null ? mean : (chosen.tokens.find((token) => token.gains.length > 0)?.gains ?? []);
  return (
    <section aria-label="Gain of each layer" class="token-detail">
      <h2>{chosen === null ? "Gain by layer, mean of the answer" : "Gain by layer, this token"}</h2>
      <TokenFacts chosen={chosen} />
      {gains.length === 0 ? (
        <p class="hint">No steered pass read this token, so nothing was added at it.</p>
      ) : (
        <GainsChart
          gains={gains}
          mean={chosen === null ? [] : mean}
          most={gainAxis.value}
          subject={chosen === null ? "mean of the answer" : "the chosen token"}
        />
      )}
    </section>
  );
}

function ProjectionDetail({ name, runs, chosen }: DetailProps & { readonly name: string }) {
  const tokens = (chosen === null ? runs : [chosen]).flatMap((run) => run.tokens);
  const before = meanOf(tokens.map((token) => projectionOf(token, name, "before")));
  const after = meanOf(tokens.map((token) => projectionOf(token, name, "after")));
  const subject = chosen === null ? "mean of the answer" : "this token";
  return (
    <section aria-label={`Along ${name}, by layer`} class="token-detail">
      <h2>
        Along {name} by layer, {subject}
      </h2>
      <TokenFacts chosen={chosen} />
      {after.length === 0 ? (
        <p class="hint">No steered pass read this token.</p>
      ) : (
        <ProjectionChart
          name={name}
          before={before}
          after={after}
          first={firstLayer(name)}
          subject={subject}
          most={projectionAxis(name)}
        />
      )}
    </section>
  );
}
