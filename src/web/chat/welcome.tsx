import { Demonstrations } from "../first/first-screen.js";
import { demonstrations } from "../first/recording.js";
import { runBoth } from "../first/take-over.js";
import { lowerFirst } from "../parts/format.js";
import { vectorsOfRoot } from "../session.js";
import type { ModelEntry, VectorEntry } from "../wire/server.js";
import { chosenModel, send } from "./chat-state.js";
import { draft } from "./composer-draft.js";
import { conversations } from "./history/conversations.js";
import "./welcome.css";

/** Prompts that a small model answers well. */
const examples = [
  "Give three tips for staying healthy.",
  "What makes a good friend?",
  "How do I make tea?",
  "Write a short story about a dog.",
];

const mostExamples = 6;

/** The adapter's own example first, then those of the two control vectors that can be turned furthest. */
function examplesFor(model: ModelEntry | null): readonly string[] {
  if (model === null) return examples;
  const vectors = vectorsOfRoot(model.root).toSorted((one, other) => widthOf(other) - widthOf(one));
  const prompts = vectors.flatMap(({ examplePrompt }) => examplePrompt ?? []);
  const shown = [...(model.examplePrompt === null ? [] : [model.examplePrompt]), ...new Set(prompts)].slice(0, 3);
  return [...new Set([...shown, ...examples])].slice(0, mostExamples);
}

function widthOf({ recommended }: VectorEntry): number {
  return recommended === null ? 0 : recommended[1] - recommended[0];
}

/** The chat before anything was asked: what steering does, and what to ask. */
export function Welcome() {
  const model = chosenModel.value;
  return (
    <div class="welcome">
      <h1>One frozen model, steered</h1>
      {demonstrations.value.length > 0 ? (
        <p>The same question from the same random seed: left the model as it is, right steered.</p>
      ) : null}
      <Demonstrations />
      {demonstrations.value.length === 0 && model !== null ? <Offer model={model} /> : null}
      <h2>Or ask something else</h2>
      <div class="examples">
        {examplesFor(model).map((example) => (
          <button
            type="button"
            key={example}
            onClick={() => {
              if (model === null) draft.value = example;
              else void send(example);
            }}
          >
            {example}
          </button>
        ))}
      </div>
      <p class="hint">
        {model?.root === "SmolLM2-135M-Instruct"
          ? "The default model has 135 million parameters: it writes fluently, knows some facts, and is wrong about many. "
          : null}
        {conversations.value.length === 0 ? "Conversations are kept in this browser and nowhere else." : null}
      </p>
    </div>
  );
}

/** Where there is no recording: the same on the server's own model, on a click. */
function Offer({ model }: { readonly model: ModelEntry }) {
  const own = vectorsOfRoot(model.root);
  const [prompt = ""] = examplesFor(model);
  if (model.adapter === null && own.length === 0) {
    return (
      <p>
        <b>{model.id}</b> answers as it is: nothing here steers it yet. <a href="#/vectors">Make a control vector</a> of
        two descriptions, in seconds; <a href="https://arxiv.org/abs/2305.15542">adapters</a> are trained and loaded
        while the server runs.
      </p>
    );
  }
  return (
    <>
      <p>
        <b>{model.root}</b> is frozen.{" "}
        {model.adapter === null ? (
          "Control vectors are dials for the tone of what it writes."
        ) : (
          <>
            The adapter <b>{model.adapter}</b> picks what matters and feeds it back into every attention layer
            {model.description === null ? "." : `: ${lowerFirst(model.description)}`}
          </>
        )}
      </p>
      {model.adapter === null ? null : (
        <p>
          <button type="button" class="primary" onClick={() => void runBoth(prompt, 1)}>
            See “{prompt}” answered plain and steered
          </button>
        </p>
      )}
    </>
  );
}
