import { useState } from "preact/hooks";
import { takeFocus } from "../parts/take-focus.js";
import type { VectorEntry } from "../wire/server.js";
import { signed } from "./maker.js";
import { base, own, taken } from "./maker-state.js";
import { RangeScale } from "./range-scale.js";
import { sideProblems } from "./sides.js";
import { choose } from "./trials-state.js";
import { downloadFile, remove, rename, tryInChat } from "./vector-actions.js";
import "./vector-list.css";

/** What there is: each with what can be done with it. */
export function VectorList() {
  if (base.value === null) return null;
  return (
    <section aria-label="Vectors" class="vector-list">
      <h2>Vectors of {base.value.id}</h2>
      {own.value.length === 0 ? (
        <p class="hint">None yet. The first one takes two descriptions.</p>
      ) : (
        <ul>
          {own.value.map((vector) => (
            <VectorCard key={vector.name} vector={vector} />
          ))}
        </ul>
      )}
    </section>
  );
}

function VectorCard({ vector }: { readonly vector: VectorEntry }) {
  const [open, setOpen] = useState<"nothing" | "rename" | "delete">("nothing");
  const [problem, setProblem] = useState<string | null>(null);
  const { name, description, recommended, isOwn } = vector;
  const attempt = async (work: Promise<string | null>) => {
    const sentence = await work;
    setProblem(sentence);
    if (sentence === null) setOpen("nothing");
  };
  return (
    <li class="vector-card">
      <h3>{name}</h3>
      <p class="range">
        <span>
          {recommended === null ? "range not measured" : `${signed(recommended[0])} to ${signed(recommended[1])}`}
        </span>
        <RangeScale range={recommended} />
      </p>
      <p class="hint">{description ?? "Nobody has described it."}</p>
      <div class="row">
        <button type="button" onClick={() => tryInChat(vector)}>
          Try in chat<span class="visually-hidden">: {name}</span>
        </button>
        <button type="button" class="quiet" onClick={() => choose(vector)}>
          Five strengths<span class="visually-hidden"> of {name}</span>
        </button>
        <button type="button" class="quiet" onClick={() => void attempt(downloadFile(vector))}>
          Download<span class="visually-hidden"> {name}</span>
        </button>
        {isOwn ? (
          <button type="button" class="quiet" aria-expanded={open === "rename"} onClick={() => setOpen("rename")}>
            Rename<span class="visually-hidden"> {name}</span>
          </button>
        ) : null}
        <button type="button" class="quiet" aria-expanded={open === "delete"} onClick={() => setOpen("delete")}>
          {isOwn ? "Delete" : "Take out"}
          <span class="visually-hidden"> {name}</span>
        </button>
      </div>
      {open === "rename" ? (
        <RenameForm
          vector={vector}
          onRename={(to) => void attempt(rename(vector, to))}
          onCancel={() => setOpen("nothing")}
        />
      ) : null}
      {open === "delete" ? (
        <fieldset class="confirm">
          <legend class="visually-hidden">
            {isOwn ? "Delete" : "Take out"} {name}
          </legend>
          <p>
            {isOwn
              ? `Delete “${name}” for good? Nobody can use it any more, and its file is removed; download it first to keep it.`
              : `Take “${name}” out? Nobody can use it until the server starts again; its file stays.`}
          </p>
          <div class="row">
            <button type="button" class="danger" onClick={() => void attempt(remove(vector))}>
              {isOwn ? "Delete for good" : "Take out"}
            </button>
            <button type="button" class="quiet" onClick={() => setOpen("nothing")}>
              Keep it
            </button>
          </div>
        </fieldset>
      ) : null}
      {problem === null ? null : (
        <p class="problem-line" role="alert">
          {problem}
        </p>
      )}
    </li>
  );
}

function RenameForm({
  vector: { name },
  onRename,
  onCancel,
}: {
  readonly vector: VectorEntry;
  readonly onRename: (name: string) => void;
  readonly onCancel: () => void;
}) {
  const [text, setText] = useState(name);
  const [wasSent, setSent] = useState(false);
  const wanted = text.trim();
  const others = taken.value.filter((one) => one !== name);
  const found = sideProblems({ positive: "this", negative: "that", name: wanted }, others);
  const problem = wasSent ? (found[0]?.sentence ?? null) : null;
  const id = `rename-${name}`;
  return (
    <form
      class="confirm"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        setSent(true);
        if (found.length > 0) return;
        if (wanted === name) onCancel();
        else onRename(wanted);
      }}
    >
      <div class="field">
        <label for={id}>New name of {name}</label>
        <input
          id={id}
          type="text"
          autocomplete="off"
          spellcheck={false}
          ref={takeFocus}
          value={text}
          aria-invalid={problem !== null}
          aria-describedby={problem === null ? undefined : `${id}-problem`}
          onInput={({ currentTarget }) => setText(currentTarget.value)}
          onKeyDown={({ key }) => {
            if (key === "Escape") onCancel();
          }}
        />
        {problem === null ? null : (
          <p id={`${id}-problem`} class="hint warning" role="alert">
            {problem}
          </p>
        )}
      </div>
      <div class="row">
        <button type="submit" class="primary">
          Rename
        </button>
        <button type="button" class="quiet" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}
