import { settings, strengthOf } from "../sampling.js";
import { stackWords } from "../vector-stack.js";
import { answerAgain, chosenModel, chosenStack, isSteeredAnew, lastAnswer } from "./chat-state.js";
import "./answer-again.css";

/** Offers the last answer anew once something that steers has been moved: what a dial does is seen at once. */
export function AnswerAgain() {
  const model = chosenModel.value;
  const last = lastAnswer.value;
  if (!isSteeredAnew.value || model === null || last === null) return null;
  const strength = strengthOf(model, settings.value.strength);
  const words = [...(strength === null ? [] : [`strength ${strength.toFixed(2)}`]), ...stackWords(chosenStack(model))];
  return (
    <div class="answer-again">
      <p>
        Now {model.id}
        {words.length === 0 ? ", not steered" : `, ${words.join(", ")}`}.
      </p>
      <button type="button" class="primary" onClick={() => void answerAgain(last)}>
        Answer again
      </button>
    </div>
  );
}
