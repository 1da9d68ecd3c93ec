import type { ChatMessage, ToolDefinition } from "./chat-message.js";
import type { CallFormat } from "./tool-call-format.js";

/** Writes a conversation as a template does. @throws where the template refuses it */
type Written = (messages: readonly ChatMessage[], tools: readonly ToolDefinition[], asks: boolean) => string;

const name = "toast_probe";
const said = "§ toast-probe-answer";
const probe: ToolDefinition = {
  name,
  description: "A probe.",
  parameters: '{"type":"object","properties":{"probe_key":{"type":"string"}}}',
};
const question: ChatMessage = { role: "user", content: "Probe?" };
const call = (id: string) => ({ id, name, arguments: '{"probe_key":"probe_value"}' });
const called = (...ids: string[]): ChatMessage => ({ role: "assistant", content: "", toolCalls: ids.map(call) });
const args = /\{\s*"probe_key"\s*:\s*"probe_value"\s*\}/;

/**
 * How a template writes calls, found by letting it write some: what stands around their names and arguments.
 * @param specialTexts of the tokenizer: what is generated never has them in its text.
 * @returns null for a template that tells the model nothing of tools, or writes calls otherwise than as a name and a
 * JSON object.
 */
export function callFormatOf(write: Written, specialTexts: readonly string[]): CallFormat | null {
  try {
    const asked = write([question], [probe], true);
    if (!asked.includes(name)) return null;
    const one = write([question, called("toastprb1")], [probe], false);
    const plain = write([question, { role: "assistant", content: said }], [probe], false);
    const tail = plain.slice(plain.lastIndexOf(said) + said.length);
    // What stands in front of every answer (an empty thought, say) is no part of a call.
    const from = Math.max(commonBeginning(asked, one), commonBeginning(plain, one));
    const found = oneCall(one, from);
    if (found === null) return null;
    const head = behindSpecial(found.head, specialTexts).trimStart();
    const end = withoutEnding(frontOfSpecial(found.rest, specialTexts), frontOfSpecial(tail, specialTexts)).trimEnd();
    const isPlain = head !== "" && !`${head}${found.middle}${end}`.includes("toastprb1");
    if (!isPlain) return null;
    const trigger = /^<[^<>]+>/.exec(head)?.[0] ?? head;
    return { trigger, head, middle: found.middle, end, separator: separatorOf(write, from, head, end) };
  } catch {
    return null;
  }
}

function oneCall(text: string, from: number) {
  const at = text.indexOf(name, from);
  if (at === -1) return null;
  const behind = text.slice(at + name.length);
  const match = args.exec(behind);
  if (match === null) return null;
  return {
    head: text.slice(from, at),
    middle: behind.slice(0, match.index),
    rest: behind.slice(match.index + match[0].length),
  };
}

/** @returns null where the template takes one call at a time, or writes several otherwise than one behind the other. */
function separatorOf(write: Written, from: number, head: string, end: string): string | null {
  try {
    const text = write([question, called("toastprb1", "toastprb2")], [probe], false).slice(from);
    const first = text.search(args);
    const behind = text.slice(first).replace(args, "");
    const second = behind.indexOf(name);
    if (first === -1 || second === -1) return null;
    const between = behind.slice(0, second);
    const isBehind = between.startsWith(end) && between.endsWith(head);
    return isBehind ? between.slice(end.length, between.length - head.length) : null;
  } catch {
    return null;
  }
}

function commonBeginning(one: string, other: string): number {
  let at = 0;
  while (at < one.length && one[at] === other[at]) at++;
  return at;
}

/** @returns `text` without the end of every turn. */
function withoutEnding(text: string, tail: string): string {
  return tail !== "" && text.endsWith(tail) ? text.slice(0, -tail.length) : text;
}

function behindSpecial(text: string, specialTexts: readonly string[]): string {
  const ends = specialTexts.map((special) => {
    const at = text.lastIndexOf(special);
    return at === -1 ? 0 : at + special.length;
  });
  return text.slice(Math.max(0, ...ends));
}

function frontOfSpecial(text: string, specialTexts: readonly string[]): string {
  const begins = specialTexts.map((special) => text.indexOf(special)).filter((at) => at !== -1);
  return text.slice(0, Math.min(text.length, ...begins));
}
