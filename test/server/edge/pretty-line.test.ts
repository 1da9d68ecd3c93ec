import { stripVTControlCharacters } from "node:util";
import { describe, expect, it } from "vitest";
import { prettyLine } from "../../../src/server/edge/pretty-line.js";
import { createLog } from "../../../src/server/edge/request-log.js";

function written(tell: (log: ReturnType<typeof createLog>) => void): string {
  const lines: string[] = [];
  tell(createLog("info", "pretty", (line) => lines.push(line)));
  return stripVTControlCharacters(lines.join("\n"));
}

describe("prettyLine", () => {
  it("is time, level, message and fields", () => {
    const json = {
      time: "2024-05-06T07:08:09.123Z",
      level: "warn",
      msg: "Full.",
      waiting: 3,
      model: "a b",
      list: [1, "x"],
    };
    expect(stripVTControlCharacters(prettyLine(JSON.stringify(json)))).toBe(
      '07:08:09 warn  Full. waiting=3 model=a b list=[1,"x"]',
    );
  });

  it("puts a stack below", () => {
    const error = new Error("It broke.");
    const lines = written((log) => log.error({ err: error, requestId: "r" }, "A request failed.")).split("\n");
    expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d error A request failed\. requestId=r$/);
    expect(lines.slice(1, 3)).toEqual(error.stack?.split("\n").slice(0, 2));
  });

  it("lets nothing that a client wrote end a line or command the terminal", () => {
    const nasty = "a\n00:00:00 info  forged \u001b[2J\u009b2J\r";
    const line = prettyLine(JSON.stringify({ time: "", level: "info", msg: "m", nasty, nested: { nasty } }));
    expect(stripVTControlCharacters(line).split("\n")).toHaveLength(1);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(line.replaceAll(/\u001b\[\d+m/g, "")).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
  });
});
