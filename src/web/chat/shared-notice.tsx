import { stackWords } from "../vector-stack.js";
import { putBack, shared, sharedProblems } from "./shared-link.js";
import "./shared-notice.css";

/** Says that a link has filled the page, what with, and what of it this server lacks. */
export function SharedNotice() {
  if (shared.value === null) return null;
  const { model, strength, vectors, sampling } = shared.value.prompt;
  const words = [
    model,
    ...(strength === null ? [] : [`strength ${strength.toFixed(2)}`]),
    ...stackWords(Object.fromEntries(vectors.map(({ name, ...dial }) => [name, dial]))),
    ...(sampling.seed === null ? [] : [`seed ${sampling.seed}`]),
  ];
  return (
    <section class="shared" aria-label="From a link">
      <p>
        A link has set everything: <b>{words.join(", ")}</b>.{" "}
        {sharedProblems.value.length === 0
          ? "Send the message below as it stands, and you get the text that was shared."
          : ""}
      </p>
      {sharedProblems.value.map((sentence) => (
        <p class="problem-line" role="alert" key={sentence}>
          {sentence}
        </p>
      ))}
      <button type="button" class="quiet" onClick={putBack}>
        Put my own settings back
      </button>
    </section>
  );
}
