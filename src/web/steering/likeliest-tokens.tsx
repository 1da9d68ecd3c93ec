import { percent } from "../parts/format.js";
import type { LikelyToken, RankedToken } from "../wire/answer.js";
import { isSame, type Likeliest } from "./likeliest.js";
import { visible } from "./token-text.js";
import "./likeliest-tokens.css";

const headings: Readonly<Record<Likeliest["place"], string>> = {
  fork: "Likeliest tokens where the two part",
  before: "Likeliest tokens here",
  behind: "Likeliest tokens here, steered",
};

/** What both passes held likeliest in one place, before anything was drawn: the plainest reason for a fork. */
export function LikeliestTokens({ likeliest }: { readonly likeliest: Likeliest | null }) {
  return (
    <section aria-label="Likeliest tokens" class="likeliest">
      <h2>{headings[likeliest?.place ?? "fork"]}</h2>
      {likeliest === null ? (
        <p class="hint">The two have not parted: point at a token to see what else was likely there.</p>
      ) : (
        <>
          <div class="likeliest-sides">
            <Side kind="base" title="Base" token={likeliest.base} />
            <Side kind="steered" title="Steered" token={likeliest.steered} />
          </div>
          <p class="hint">{hintOf(likeliest)}</p>
        </>
      )}
    </section>
  );
}

function hintOf({ place, base, steered }: Likeliest): string {
  if (place === "behind") return "The base reads another text from where they part.";
  if (base === null || steered === null) return `The ${base === null ? "base" : "steered"} answer ends here.`;
  return place === "fork"
    ? "Both read the same text up to here. Framed is what was drawn, by temperature and seed."
    : "Framed is what was drawn, the same on both sides.";
}

function Side({
  kind,
  title,
  token,
}: {
  readonly kind: "base" | "steered";
  readonly title: string;
  readonly token: RankedToken | null;
}) {
  const isListed = token?.top.some((one) => isSame(one, token)) ?? true;
  return (
    <div class={`likeliest-side ${kind}`}>
      <h3>{title}</h3>
      {token === null ? (
        <p class="hint">–</p>
      ) : (
        <ol>
          {token.top.map((one, at) => (
            <Likely key={at} token={one} isDrawn={isSame(one, token)} />
          ))}
          {isListed ? null : <Likely token={token} isDrawn={true} />}
        </ol>
      )}
    </div>
  );
}

function Likely({ token: { text, logprob }, isDrawn }: { readonly token: LikelyToken; readonly isDrawn: boolean }) {
  const share = Math.exp(logprob);
  return (
    <li class={isDrawn ? "drawn" : ""} style={{ "--share": Number(share.toFixed(4)) }}>
      <span class="likely-text">{visible(text)}</span>
      <span class="likely-share">{share > 0 && share < 0.005 ? "< 1 %" : percent(share)}</span>
      {isDrawn ? <span class="visually-hidden">, drawn</span> : null}
    </li>
  );
}
