import { useEffect, useRef } from "preact/hooks";
import { Icon } from "../parts/icon.js";
import { Markdown } from "../parts/markdown.js";
import { PromptField } from "../parts/prompt-field.js";
import { Segments } from "../parts/segments.js";
import { StackPicker } from "../parts/stack-picker.js";
import { settings } from "../sampling.js";
import { access, isSteeredBase, models } from "../session.js";
import {
  askBoth,
  battle,
  canDraw,
  chosenPairing,
  contestantOf,
  contestants,
  drawPrompt,
  isOpen,
  isSamePair,
  loadContestants,
  nextPrompt,
  type Place,
  pair,
  pairing,
  prompt,
  skip,
  start,
  stop,
  vote,
} from "./arena-state.js";
import type { Battle, Revealed, Turn, Winner } from "./battle.js";
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

/** A blind battle: two answers without names, further turns at will, a vote, then the names. */
export function ArenaView() {
  const now = battle.value;
  // A server that is still loading knows nobody.
  useEffect(() => void loadContestants(), [access.value, models.value]);
  const known = contestants.value;
  return (
    <div class="wide">
      <div class="title-row">
        <h1>Arena</h1>
        <a href="#/leaderboard">Leaderboard</a>
      </div>
      {now === null ? (
        <p class="lead">
          Two models answer the same prompt, sides drawn by lot, text shown at equal pace. Ask both as much as you like,
          say which is better, and learn who wrote it. Every vote is a record that is never changed.
        </p>
      ) : (
        <BattleView battle={now} />
      )}
      {known !== null && known.length < 2 && !hasDials(known) ? (
        <p>
          A battle needs two contestants, and this server has one. Serve another model or an adapter, or name other
          servers and stacks with <code>--contestants</code>.
        </p>
      ) : isOpen.value ? null : (
        <Question />
      )}
    </div>
  );
}

/** Whether one model alone can be held against itself, steered. */
function hasDials(known: readonly { readonly id: string }[]): boolean {
  return known.some(({ id }) => isSteeredBase(id));
}

function Question() {
  const isFirst = battle.value === null;
  return (
    <form
      class="controls"
      onSubmit={(event) => {
        event.preventDefault();
        void start();
      }}
    >
      <PromptField id="arena-prompt" value={prompt} onSend={() => void start()} />
      <Pair />
      <div class="controls-row end">
        <button type="button" onClick={drawPrompt}>
          <Icon of="dice" />
          Random prompt
        </button>
        <button type="submit" class="primary" disabled={prompt.value.trim() === "" || isSamePair.value}>
          <Icon of="run" />
          {isFirst ? "Start a blind battle" : "Next battle"}
        </button>
      </div>
    </form>
  );
}

function Pair() {
  return (
    <div class="controls-row arena-pair">
      {canDraw.value ? (
        <Segments
          name="pairing"
          legend="Who answers"
          options={[
            { value: "lot", label: "Two drawn by lot" },
            { value: "chosen", label: "Two of my choice" },
          ]}
          value={pairing.value}
          onChoose={(chosen) => {
            chosenPairing.value = chosen;
          }}
        />
      ) : null}
      {pairing.value === "lot" ? null : (
        <>
          <div class="controls-row pair">
            <Picker place="one" label="One" />
            <Picker place="other" label="The other" />
          </div>
          <p class={isSamePair.value ? "hint warning" : "hint"}>
            {isSamePair.value
              ? "Both are the same: choose another, or another strength."
              : "Which of them is on the left is drawn by lot, so the vote is blind all the same."}
          </p>
        </>
      )}
      {settings.value.systemPrompt.trim() === "" ? null : (
        <p class="hint">The chat's system prompt is not sent: a contestant has its own, or none.</p>
      )}
    </div>
  );
}

function Picker({ place, label }: { readonly place: Place; readonly label: string }) {
  return (
    <StackPicker
      id={`arena-${place}`}
      label={label}
      contestants={contestants.value ?? []}
      contestant={contestantOf(place)}
      choice={pair.value[place]}
      onChange={(choice) => {
        pair.value = { ...pair.value, [place]: choice };
      }}
    />
  );
}

function BattleView({ battle: now }: { readonly battle: Battle }) {
  const box = useRef<HTMLElement>(null);
  const canVote = now.phase === "complete";
  useEffect(() => {
    // The keys below work from here on without a click.
    if (canVote) box.current?.focus();
  }, [canVote]);
  return (
    <section
      ref={box}
      class="battle"
      aria-label="Battle"
      tabIndex={-1}
      onKeyDown={(event) => {
        // What is typed is no vote.
        if (event.target instanceof HTMLTextAreaElement) return;
        const chosen = votes.find(({ key }) => key === event.key || key === event.key.toLowerCase());
        if (canVote && chosen !== undefined && !event.ctrlKey && !event.metaKey && !event.altKey) {
          event.preventDefault();
          void vote(chosen.winner);
        }
      }}
    >
      {now.turns.map((turn, at) => (
        <TurnView key={at} battle={now} turn={turn} at={at} />
      ))}
      <Ballot battle={now} />
    </section>
  );
}

function TurnView({ battle: now, turn, at }: { readonly battle: Battle; readonly turn: Turn; readonly at: number }) {
  const isRunning = now.phase === "answering" && at === now.turns.length - 1;
  const number = at === 0 ? "" : `, turn ${at + 1}`;
  return (
    <>
      <p class="battle-prompt" dir="auto">
        {turn.prompt}
      </p>
      <div class="columns">
        {(["left", "right"] as const).map((side) => {
          const isBest = now.phase === "revealed" && now.winner === side;
          return (
            <section
              key={side}
              class={`column ${columnOf(now, side)} ${isBest ? "won" : ""}`}
              aria-label={`${side === "left" ? "Left answer" : "Right answer"}${number}`}
              aria-busy={isRunning}
            >
              <h2>
                {headOf(now, side)}
                {isBest ? (
                  <>
                    {" "}
                    <span class="better">better</span>
                  </>
                ) : null}
              </h2>
              <div class="column-text">
                {turn[side] === "" && isRunning ? <p class="waiting">Waiting for the first token</p> : null}
                <Markdown text={turn[side]} />
              </div>
            </section>
          );
        })}
      </div>
    </>
  );
}

/** The colour of whoever wrote it, once that is known. */
function columnOf(now: Battle, side: "left" | "right"): string {
  return now.phase === "revealed" ? `column-${kindOf(now.names[side])}` : "column-blind";
}

function kindOf({ isSteered, model }: Revealed): "steered" | "base" | "other" {
  if (isSteered) return "steered";
  return model !== null && isSteeredBase(model) ? "base" : "other";
}

function headOf(now: Battle, side: "left" | "right"): string {
  if (now.phase !== "revealed") return side === "left" ? "Left" : "Right";
  const { label, strength } = now.names[side];
  // A stack's own name says how strong it is.
  return strength === null || label.includes("@") ? label : `${label}, strength ${strength.toFixed(2)}`;
}

function Ballot({ battle: now }: { readonly battle: Battle }) {
  switch (now.phase) {
    case "answering":
      return (
        <div class="row">
          <button type="button" class="stop" onClick={stop}>
            <Icon of="stop" />
            Stop
          </button>
          <Skip />
        </div>
      );
    case "void":
      return <p class="problem-line">{now.sentence}</p>;
    case "complete":
    case "voting":
      return (
        <>
          {now.phase === "complete" && now.problem !== null ? (
            <p class="problem-line" role="alert">
              {now.problem}
            </p>
          ) : null}
          <FurtherTurn isVoting={now.phase === "voting"} />
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
            class="primary"
            onClick={() => {
              drawPrompt();
              void start();
            }}
          >
            <Icon of="next" />
            Next, on another prompt
          </button>
        </div>
      );
  }
}

function FurtherTurn({ isVoting }: { readonly isVoting: boolean }) {
  return (
    <form
      class="further-turn"
      onSubmit={(event) => {
        event.preventDefault();
        void askBoth();
      }}
    >
      <PromptField
        id="arena-next"
        label="Ask both something more"
        value={nextPrompt}
        rows={1}
        onSend={() => void askBoth()}
      />
      <button type="submit" disabled={isVoting || nextPrompt.value.trim() === ""}>
        <Icon of="run" />
        Ask both
      </button>
      <Skip />
    </form>
  );
}

/** No vote at all, which says nothing of either. */
function Skip() {
  return (
    <button type="button" onClick={() => void skip()}>
      <Icon of="skip" />
      Skip
    </button>
  );
}
