import { createHash } from "node:crypto";
import { ToastError } from "../../errors.js";
import { type BattleRecord, recordFromWire } from "../battle-record.js";
import type { Pair } from "../battles/two-answers.js";
import type { ArenaMessage } from "../contestants/contestant.js";
import type { Item } from "./json-lines.js";
import { isOutsideVerdict, nameless, type OutsideVerdict, outsideVerdicts } from "./outside-verdicts.js";

/**
 * Records as they are, and records made of verdicts of other tools that name their contestants, with the texts where
 * the file has them; scores of single answers, which have to be compared first, come last.
 * @throws ToastError `invalid_request`, naming the item at fault.
 */
export function* recordsFrom(items: readonly Item[]): Generator<BattleRecord, void, undefined> {
  const verdicts: Item[] = [];
  for (const item of items) {
    if (isOutsideVerdict(item.value)) {
      verdicts.push(item);
      continue;
    }
    refuseHalves(item);
    yield recordFromWire(item.value, item.where);
  }
  const times = new Map<string, number>();
  for (const verdict of outsideVerdicts(verdicts, "invalid_request")) {
    // Ids are made of content: a file that is read twice has the same ones, and lines that say the same twice have two.
    const content = createHash("sha256").update(JSON.stringify(verdict.lines)).digest("hex").slice(0, 32);
    const before = times.get(content) ?? 0;
    times.set(content, before + 1);
    yield recordOf(verdict, before === 0 ? `im_${content}` : `im_${content}.${before}`);
  }
}

/** @throws ToastError where an item is a question, or an answer to one: each is a part of a battle only. */
function refuseHalves({ value, where }: Item): void {
  const has = (key: string) => typeof value === "object" && value !== null && Object.hasOwn(value, key);
  const what =
    has("question_id") && (has("choices") || has("answer_id"))
      ? "an answer"
      : has("turns") && has("question_id")
        ? "a question"
        : has("instruction")
          ? has("output")
            ? "an answer"
            : "a question"
          : null;
  if (what === null) return;
  const message = `${where} is ${what}, which is no battle yet: 'toast-serve ab --prompts … --left … --right …' makes battles of questions and answers, and adds them with --import-to.`;
  throw new ToastError("invalid_request", message);
}

/** @throws ToastError `invalid_request` */
function recordOf(verdict: OutsideVerdict, id: string): BattleRecord {
  const { left, right, where, winner, judge, category, turn, words, details } = verdict;
  if (left === null || right === null) throw nameless(where, "invalid_request");
  const battle = battleOf(verdict.conversations);
  const at = (verdict.saidAt ?? new Date()).toISOString();
  const side = (contestant: string, text: string | undefined) => ({
    contestant,
    kind: battle === null ? "unknown" : "recorded",
    text: text ?? null,
  });
  // Where the texts are not known, nothing else says after how many turns it was judged.
  const told = battle === null && turn !== null && turn > 1 ? { turn } : null;
  return recordFromWire(
    {
      id,
      source: "import",
      created_at: at,
      category,
      messages: battle?.messages ?? (words === null ? [] : [{ role: "user", content: words }]),
      left: side(left, battle?.first.left),
      right: side(right, battle?.first.right),
      turns: battle?.turns.map(({ prompt, answers }) => ({
        created_at: at,
        prompt,
        left: side(left, answers.left),
        right: side(right, answers.right),
      })),
      vote: {
        winner,
        judge,
        voted_at: at,
        details: details === null && told === null ? null : { ...details, ...told },
      },
    },
    where,
  );
}

interface SaidBattle {
  readonly messages: readonly ArenaMessage[];
  readonly first: Pair<string>;
  readonly turns: readonly { readonly prompt: string; readonly answers: Pair<string> }[];
}

/** Two conversations as one battle; null where they were not asked the same, or where they are no exchange of turns. */
function battleOf(conversations: OutsideVerdict["conversations"]): SaidBattle | null {
  if (conversations === null) return null;
  const { left, right } = conversations;
  const start = left.findIndex(({ role }) => role === "assistant");
  const [first, firstRight] = [left[start], right[start]];
  const isSame = left.every(
    ({ role, content }, at) => right[at]?.role === role && (role === "assistant" || right[at].content === content),
  );
  if (first === undefined || firstRight === undefined || !isSame || left.length !== right.length) return null;
  const turns: SaidBattle["turns"][number][] = [];
  for (let at = start + 1; at < left.length; at += 2) {
    const [asked, one, other] = [left[at], left[at + 1], right[at + 1]];
    if (asked?.role !== "user" || one?.role !== "assistant" || other === undefined) return null;
    turns.push({ prompt: asked.content, answers: { left: one.content, right: other.content } });
  }
  return {
    messages: left.slice(0, start),
    first: { left: first.content, right: firstRight.content },
    turns,
  };
}
