/** Of reports alone; the leaderboard brings its own. */
export const reportStyles = `
:root { --card: var(--raised); --win: var(--other); --loss: var(--second); --tie: light-dark(#b9b2a4, #6d675c); --bad: light-dark(#8d8678, #4d483f); --inside: light-dark(#fff, #14130f); --sans: system-ui, sans-serif; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 40px 0 12px; }
h3 { font-size: 1.05rem; margin: 24px 0 8px; overflow-wrap: anywhere; }
h4 { margin: 0 0 8px; font-size: .95rem; overflow-wrap: anywhere; }
.lead { font-size: 1.15rem; }
.hint, footer, .against, .category { color: var(--ink-soft); font-size: .88rem; }
.facts { display: grid; gap: 4px 24px; margin: 16px 0; }
.facts div { display: grid; grid-template-columns: 140px 1fr; gap: 12px; }
.facts dt { color: var(--ink-soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
svg { display: block; width: 100%; max-width: 760px; height: auto; margin: 12px 0; }
svg.square { max-width: 420px; }
.plot svg { min-width: 560px; }
th[scope=row] { white-space: normal; overflow-wrap: anywhere; min-width: 130px; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); }
svg .quiet { fill: var(--ink-soft); font-size: 12px; }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; }
svg .axis { stroke: var(--ink-soft); stroke-dasharray: 4 4; }
svg .win { fill: var(--win); } svg .loss { fill: var(--loss); } svg .tie { fill: var(--tie); } svg .bad { fill: var(--bad); }
svg .point { fill-opacity: .75; }
svg text.inside { fill: var(--inside); font-size: 12px; } svg text.inside.tie, svg text.inside.bad { fill: var(--ink); }
.legend { font-size: .88rem; margin: 0; }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin: 0 6px 0 14px; vertical-align: -1px; }
.key:first-child { margin-left: 0; }
.key.win { background: var(--win); } .key.loss { background: var(--loss); } .key.tie { background: var(--tie); } .key.bad { background: var(--bad); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: 6px; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
thead th { color: var(--ink-soft); font-weight: 500; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: 8px 0; padding: 10px 14px; }
summary { cursor: pointer; overflow-wrap: anywhere; }
.badge { display: inline-block; border-radius: 4px; padding: 0 8px; font-size: .82rem; background: var(--tie); color: var(--ink); }
.badge.win { background: var(--win); color: var(--inside); } .badge.loss { background: var(--loss); color: var(--inside); }
.badge.none { background: none; border: 1px solid var(--line); color: var(--ink-soft); }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; }
@media (max-width: 640px) { .sides { grid-template-columns: 1fr; } .facts div { grid-template-columns: 1fr; gap: 0; } }
article { border: 1px solid var(--line); border-radius: 6px; padding: 12px; min-width: 0; }
article.of-first { --own: var(--win); } article.of-second { --own: var(--loss); } article h4 { color: var(--own); }
article.won { border: 2px solid var(--own); }
.mark { color: var(--own); font-weight: 500; font-size: .82rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: 0; }
.conversation { margin: 12px 0; } .conversation p { margin: 8px 0 0; color: var(--ink-soft); font-size: .82rem; }
.judgment { border-left: 3px solid var(--line); padding-left: 12px; margin: 8px 0; font-size: .88rem; }
.voting { background: var(--card); border-radius: 8px; padding: 1px 16px 16px; box-shadow: var(--lift); } .voting h2 { margin-top: 16px; }
.voting-prompt { font-weight: 600; margin: 12px 0; } .voting-buttons { display: flex; flex-wrap: wrap; gap: 8px; }
button { font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--line-strong); border-radius: 7px; box-shadow: 0 1px 0 var(--line-strong); padding: 6px 12px; min-height: 38px; cursor: pointer; }
button:active { box-shadow: none; translate: 0 1px; } button:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; } [hidden] { display: none; }
code { font: .9em ui-monospace, monospace; }
footer { margin-top: 48px; }
@media print { details { break-inside: avoid; } .voting { display: none; } }
`;
