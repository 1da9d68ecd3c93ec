import { styleText } from "node:util";

const colours = { trace: "gray", debug: "gray", info: "green", warn: "yellow", error: "red" } as const;

/**
 * A line of the JSON log as a person reads it: time, level, message, then the fields. A stack goes below.
 * @param json one record, as pino writes it.
 */
export function prettyLine(json: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const word = String(level);
  const colour = word in colours ? colours[word as keyof typeof colours] : "white";
  const rest = Object.entries(fields).map(([name, value]) => `${styleText("gray", `${name}=`)}${plain(value)}`);
  const stack = typeof err === "object" && err !== null && "stack" in err ? `\n${tame(String(err.stack))}` : "";
  const clock = String(time).slice(11, 19);
  return [styleText("gray", clock), styleText(colour, word.padEnd(5)), plain(msg), ...rest].join(" ") + stack;
}

/** Bare where that is clear; what a client wrote never ends a line or starts an escape sequence. */
function plain(value: unknown): string {
  if (typeof value !== "string") return tame(JSON.stringify(value) ?? "");
  return /^[^\s"][^\n"]*$/.test(value) && tame(value) === value ? value : tame(JSON.stringify(value));
}

/** Line ends stay. */
function tame(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
