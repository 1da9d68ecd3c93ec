import { useRef } from "preact/hooks";
import { announcement } from "../session.js";
import { newSentences } from "./sentences.js";

/**
 * Reads out short notices, politely. Stands in the page from the start: a live region that comes with its text is not
 * heard.
 */
export function Announcer() {
  return (
    <div class="visually-hidden" role="status">
      {announcement}
    </div>
  );
}

/**
 * Reads out a growing text sentence by sentence, and nothing of it twice.
 * @param text of the answer that runs or ran last; another `name` begins afresh.
 */
export function SpokenText({
  name,
  text,
  complete,
}: {
  readonly name: string;
  readonly text: string;
  readonly complete: boolean;
}) {
  const state = useRef({ name, told: complete ? text.length : 0, lines: [] as string[] });
  if (state.current.name !== name || text.length < state.current.told) {
    state.current = { name, told: complete ? text.length : 0, lines: [] };
  }
  const { sentences, told } = newSentences(text, state.current.told, complete);
  state.current.told = told;
  state.current.lines.push(...sentences);
  return (
    <div class="visually-hidden" role="log" aria-label="Answer, read as it comes">
      {state.current.lines.map((line, at) => (
        <p key={at}>{line}</p>
      ))}
    </div>
  );
}
