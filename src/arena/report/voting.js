// Runs in a report that has something to judge: the pairs without a verdict, one after the other, without names and on
// sides drawn by lot. Nothing is sent anywhere; what was said is kept in the browser until it is downloaded.

/** @typedef {"left" | "right" | "tie" | "bothBad"} Winner */
/** @typedef {{ id: string, turn: number, winner: Winner, judge: "human" }} Verdict */

const panel = /** @type {HTMLElement | null} */ (document.querySelector(".voting"));
const pairs = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("details[data-prompt]")]);
const storageKey = `toast-serve:verdicts:${panel?.getAttribute("data-run") ?? ""}`;

/** By prompt and turn. @type {Map<string, Verdict>} */
const verdicts = new Map();
/** Where the search for the next pair begins: behind those that were skipped. */
let from = 0;
/** @type {{ at: number, isSwapped: boolean } | null} */
let shown = null;

/** @param {string} name of a part of the panel. */
const part = (name) => /** @type {HTMLElement} */ (panel?.querySelector(`[data-part="${name}"]`));
/** What is judged of a pair: a prompt's turn. @param {Element | undefined} pair */
const subjectOf = (pair) => ({
  id: pair?.getAttribute("data-prompt") ?? "",
  turn: Number(pair?.getAttribute("data-turn") ?? 1),
});
/** @param {{ id: string, turn?: number }} subject */
const keyOf = ({ id, turn = 1 }) => JSON.stringify([id, turn]);
/** One text as it is; of several turns all, with their numbers. @param {readonly string[]} texts */
const inTurns = (texts) => (texts.length > 1 ? texts.map((text, at) => `${at + 1}. ${text}`) : texts).join("\n\n");
/** @param {Element | undefined} pair @param {string} selector */
const textsIn = (pair, selector) => [...(pair?.querySelectorAll(selector) ?? [])].map((text) => text.textContent ?? "");

function load() {
  try {
    for (const verdict of JSON.parse(localStorage.getItem(storageKey) ?? "[]")) verdicts.set(keyOf(verdict), verdict);
  } catch {
    // A browser that keeps nothing for files, or something else under that name: one begins anew.
  }
}

function store() {
  try {
    localStorage.setItem(storageKey, JSON.stringify([...verdicts.values()]));
  } catch {
    // They are still there to be downloaded.
  }
}

/** Shows the next pair without a verdict, or that there is none. */
function next() {
  const order = [...pairs.keys()].map((at) => (at + from) % pairs.length);
  const at = order.find((index) => !verdicts.has(keyOf(subjectOf(pairs[index]))));
  part("progress").textContent = `${verdicts.size} of ${pairs.length} judged`;
  part("download").hidden = verdicts.size === 0;
  part("pair").hidden = at === undefined;
  part("done").hidden = at !== undefined;
  shown = at === undefined ? null : { at, isSwapped: Math.random() < 0.5 };
  if (shown === null) return;
  const pair = pairs[shown.at];
  part("prompt").textContent = inTurns(textsIn(pair, ".conversation > div:last-child > pre, .conversation > pre"));
  const sides = ["first", "last"].map((side) => inTurns(textsIn(pair, `.sides article:${side}-child > pre`)));
  const [one = "", other = ""] = shown.isSwapped ? sides.toReversed() : sides;
  part("left").textContent = one;
  part("right").textContent = other;
}

/** @param {Winner | "skip"} said of the sides as they are shown. */
function say(said) {
  if (shown === null) return;
  const { at, isSwapped } = shown;
  from = (at + 1) % pairs.length;
  if (said !== "skip") {
    const turned = said === "left" ? "right" : said === "right" ? "left" : said;
    const subject = subjectOf(pairs[at]);
    verdicts.set(keyOf(subject), { ...subject, winner: isSwapped ? turned : said, judge: "human" });
    store();
  }
  next();
}

function download() {
  const lines = [...verdicts.values()].map((verdict) => `${JSON.stringify(verdict)}\n`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
  link.download = "verdicts.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** @type {Readonly<Record<string, Winner>>} */
const keys = { ArrowLeft: "left", ArrowRight: "right", t: "tie", b: "bothBad" };

if (panel !== null && pairs.length > 0) {
  load();
  panel.hidden = false;
  for (const button of panel.querySelectorAll("button[data-say]")) {
    button.addEventListener("click", () => say(/** @type {Winner | "skip"} */ (button.getAttribute("data-say"))));
  }
  part("download").addEventListener("click", download);
  panel.addEventListener("keydown", (event) => {
    const said = keys[event.key] ?? keys[event.key.toLowerCase()];
    if (said === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    say(said);
  });
  next();
}
