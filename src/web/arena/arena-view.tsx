import { useEffect, useRef } from "preact/hooks";
import { Markdown } from "../parts/markdown.js";
import { PromptField } from "../parts/prompt-field.js";
import { access } from "../session.js";
import { battle, contestants, countContestants, drawPrompt, isBusy, prompt, start, stop, vote } from "./arena-state.js";
import type { Battle, Winner } from "./battle.js";
import "../parts/answer-column.css";
import "../parts/wide-view.css";
import "./arena-view.css";

const votes: readonly {
  readonly winner: Winner;
  readonly label: string;
  readonly key: string;
  readonly hint: string;
}[] = [
  { winner: "left", label: "Left is better", key: "ArrowLeft", hint: "←" },
  { winner: "tie", label: "Tie", key: "t", hint: "T" },
  { winner: "bothBad", label: "Both bad", key: "b", hint: "B" },
  { winner: "right", label: "Right is better", key: "ArrowRight", hint: "→" },
];

/** A blind battle: two answers without names, a vote, then the names. */
export function ArenaView() {
  const now = battle.value;
  useEffect(() => void countContestants(), [access.value]);
  return (
    <div class="wide">
      <div class="title-row">
        <h1>Arena</h1>
        <a href="#/leaderboard">Leaderboard</a>
      </div>
      <p class="lead">
        Two models answer the same prompt, sides drawn by lot, text shown at equal pace. Say which answer is better; you
        learn afterwards who wrote it. Every vote is a record that is never changed.
      </p>
      {contestants.value !== null && contestants.value < 2 ? (
        <p>
          A battle needs two contestants, and this server has one. Serve another model or an adapter, or name other
          servers and stacks with <code>--contestants</code>.
        </p>
      ) : (
        <Question />
      )}
      {now === null ? null : <BattleView battle={now} />}
    </div>
  );
}

function Question() {
  const now = battle.value;
  return (
    <form
      class="controls"
      onSubmit={(event) => {
        event.preventDefault();
        void start();
      }}
    >
      <PromptField id="arena-prompt" value={prompt} onSend={() => void start()} />
      <div class="controls-row end">
        <button type="button" disabled={isBusy.value} onClick={drawPrompt}>
          Another prompt
        </button>
        {now?.phase === "answering" ? (
          <button type="button" class="primary stop" onClick={stop}>
            Stop
          </button>
        ) : (
          <button type="submit" class="primary" disabled={isBusy.value || prompt.value.trim() === ""}>
            {now === null ? "Start a blind battle" : "Next battle"}
          </button>
        )}
      </div>
    </form>
  );
}

function BattleView({ battle: now }: { readonly battle: Battle }) {
  const box = useRef<HTMLElement>(null);
  const open = now.phase === "complete";
  useEffect(() => {
    // The keys below work from here on without a click.
    if (open) box.current?.focus();
  }, [open]);
  return (
    <section
      ref={box}
      class="battle"
      aria-label="Battle"
      tabIndex={-1}
      onKeyDown={(event) => {
        const chosen = votes.find(({ key }) => key === event.key || key === event.key.toLowerCase());
        if (open && chosen !== undefined && !event.ctrlKey && !event.metaKey && !event.altKey) {
          event.preventDefault();
          void vote(chosen.winner);
        }
      }}
    >
      <p class="battle-prompt">{now.prompt}</p>
      <div class="columns">
        {(["left", "right"] as const).map((side) => (
          <section
            key={side}
            class={`column column-blind ${now.phase === "revealed" && now.winner === side ? "won" : ""}`}
            aria-label={side === "left" ? "Left answer" : "Right answer"}
            aria-busy={now.phase === "answering"}
          >
            <h2>{headOf(now, side)}</h2>
            <div class="column-text">
              {now[side] === "" && now.phase === "answering" ? (
                <p class="waiting">Waiting for the first token</p>
              ) : null}
              <Markdown text={now[side]} />
            </div>
          </section>
        ))}
      </div>
      <Ballot battle={now} />
    </section>
  );
}

function headOf(now: Battle, side: "left" | "right"): string {
  if (now.phase !== "revealed") return side === "left" ? "Left" : "Right";
  const { label, strength } = now.names[side];
  return strength === null ? label : `${label}, strength ${strength.toFixed(2)}`;
}

function Ballot({ battle: now }: { readonly battle: Battle }) {
  switch (now.phase) {
    case "answering":
      return null;
    case "void":
      return <p class="problem-line">{now.sentence}</p>;
    case "complete":
    case "voting":
      return (
        <>
          <fieldset class="ballot" aria-label="Which answer is better?">
            {votes.map(({ winner, label, key, hint }) => (
              <button
                type="button"
                key={winner}
                aria-keyshortcuts={key}
                disabled={now.phase === "voting"}
                onClick={() => void vote(winner)}
              >
                {label} <kbd>{hint}</kbd>
              </button>
            ))}
          </fieldset>
          {now.phase === "complete" && now.problem !== null ? (
            <p class="problem-line" role="alert">
              The vote was not stored. {now.problem}
            </p>
          ) : null}
        </>
      );
    case "revealed":
      return (
        <div class="row">
          <p class="verdict">
            You voted {votes.find(({ winner }) => winner === now.winner)?.label.toLowerCase()}. Stored; it counts in the{" "}
            <a href="#/leaderboard">leaderboard</a>.
          </p>
          <button
            type="button"
            onClick={() => {
              drawPrompt();
              void start();
            }}
          >
            Next, on another prompt
          </button>
        </div>
      );
  }
}
