import { useId, useState } from "preact/hooks";
import { short } from "../parts/format.js";
import type { ExplainedToken } from "../wire/answer.js";
import { type ShadeBy, type ShadingScale, shadedValue } from "./shading.js";
import type { TokenRun } from "./token-runs.js";
import "../parts/answer-column.css";
import "./token-text.css";

/** @returns all that is known of a token, in words; of the engine's work where that is looked at. */
export function describe({ text, tokens }: TokenRun, by: ShadeBy): string {
  const relevance = shadedValue({ text, tokens }, "relevance");
  const gain = shadedValue({ text, tokens }, "gain");
  const vectors = (tokens[0]?.vectors ?? []).map(({ name }) => {
    const [before, after] = (["before", "after"] as const).map((side) =>
      shadedValue({ text, tokens }, `${side}:${name}`),
    );
    return `${name} ${short(before ?? 0)} before, ${short(after ?? 0)} after`;
  });
  const facts = [
    relevance === null && vectors.length === 0 ? "no relevance: no steered pass read it" : null,
    relevance === null ? null : `relevance ${short(relevance)}`,
    gain === null ? null : `gain ${short(gain)}`,
    ...vectors,
    by === "draft" ? draftWords(tokens) : null,
  ].filter((fact) => fact !== null);
  const name = text === "" ? `special token ${tokens[0]?.id ?? ""}` : `“${visible(text).trim() || " "}”`;
  return `${name}: ${facts.join(", ")}`;
}

function draftWords(tokens: readonly ExplainedToken[]): string | null {
  const drafts = new Set(tokens.map(({ draft }) => draft));
  if (drafts.has("refused")) return "draft refused";
  return drafts.has("accepted") ? "draft accepted" : null;
}

/**
 * Text as its tokens, shaded. One stop for the keyboard: arrow keys walk the tokens, and each is read out with its
 * numbers; the pointer does the same by hovering.
 * @param forkAt index of the run where another text first differs; null: nowhere.
 */
export function TokenText({
  label,
  runs,
  by,
  scale,
  forkAt,
  selected,
  onSelect,
}: {
  readonly label: string;
  readonly runs: readonly TokenRun[];
  readonly by: ShadeBy;
  readonly scale: ShadingScale;
  readonly forkAt: number | null;
  readonly selected: number | null;
  readonly onSelect: (at: number | null) => void;
}) {
  const id = useId();
  const [focused, setFocused] = useState(false);
  const walk = (event: KeyboardEvent) => {
    const last = runs.length - 1;
    const from = selected ?? -1;
    const to = {
      ArrowRight: from + 1,
      ArrowDown: from + 1,
      ArrowLeft: from - 1,
      ArrowUp: from - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined) {
      if (event.key === "Escape") onSelect(null);
      return;
    }
    event.preventDefault();
    onSelect(Math.min(last, Math.max(0, to)));
  };
  return (
    <div
      class="token-text"
      role="listbox"
      aria-label={label}
      tabIndex={0}
      aria-activedescendant={focused && selected !== null ? `${id}-${selected}` : undefined}
      onKeyDown={walk}
      onFocus={() => setFocused(true)}
      onBlur={() => setFocused(false)}
    >
      {runs.map((run, at) => (
        <span
          key={at}
          id={`${id}-${at}`}
          role="option"
          // The list's own arrow keys reach it.
          tabIndex={-1}
          aria-selected={at === selected}
          aria-label={`${describe(run, by)}${at === forkAt ? ". Here the two texts first differ" : ""}`}
          class={classOf(run, by, at === forkAt, at === selected)}
          data-sign={(shadedValue(run, by) ?? 0) < 0 ? "against" : undefined}
          style={{ "--shade": by === "draft" ? 0 : Number(scale.shade(shadedValue(run, by)).toFixed(3)) }}
          onPointerEnter={() => onSelect(at)}
        >
          {visible(run.text)}
        </span>
      ))}
    </div>
  );
}

function classOf({ tokens }: TokenRun, by: ShadeBy, isFork: boolean, isSelected: boolean): string {
  const draft = tokens.some(({ draft }) => draft === "refused")
    ? "refused"
    : tokens.some(({ draft }) => draft === "accepted")
      ? "accepted"
      : "none";
  return ["token", by === "draft" ? `draft-${draft}` : "", isFork ? "fork" : "", isSelected ? "selected" : ""]
    .filter(Boolean)
    .join(" ");
}

/**
 * Line breaks and tokens without text (the beginning, the end) are tokens too, and have to be seen to be pointed at.
 */
export function visible(text: string): string {
  return text === "" ? "◦" : text.replaceAll("\n", "⏎\n");
}
