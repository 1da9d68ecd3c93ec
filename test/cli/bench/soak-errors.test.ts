import { describe, expect, it } from "vitest";
import { countErrors, outcomeOf, type SoakFailure, unanswered } from "../../../src/cli/bench/soak-errors.js";

const stream = (text: string) => new Response(text, { headers: { "content-type": "text/event-stream" } });
const json = (text: string, status = 200, headers: Record<string, string> = {}) =>
  new Response(text, { status, headers: { "content-type": "application/json", ...headers } });

describe("how a request of a soak ended", () => {
  it("is answered where a stream or a body has its end", async () => {
    expect(await outcomeOf(stream('data: {"choices":[]}\n\ndata: [DONE]\n\n'))).toEqual({ kind: "answered" });
    expect(await outcomeOf(json('{"data":[]}'))).toEqual({ kind: "answered" });
  });

  it("is refused with the server's code, and with the seconds after which to come again", async () => {
    const body = '{"error":{"message":"Too much at once.","type":"rate_limit_error","param":null,"code":"busy"}}';
    expect(await outcomeOf(json(body, 429, { "retry-after": "2" }))).toEqual({
      kind: "refused",
      code: "busy",
      status: 429,
      retryAfter: 2,
      message: "Too much at once.",
    });
  });

  it("is broken off where a stream has an error line, whatever follows it", async () => {
    const line = '{"error":{"message":"Too late.","type":"server_error","param":null,"code":"request_timeout"}}';
    expect(await outcomeOf(stream(`data: {"choices":[]}\n\ndata: ${line}\n\ndata: [DONE]\n\n`))).toMatchObject({
      kind: "brokenOff",
      code: "request_timeout",
      message: "Too late.",
    });
  });

  it("is cut short where neither an end nor an error came", async () => {
    expect(await outcomeOf(stream('data: {"choices":[]}\n\n'))).toMatchObject({ kind: "cutShort", status: 200 });
    expect(await outcomeOf(json('{"data":'))).toMatchObject({ kind: "cutShort" });
  });

  it("is unanswered for the cause that fetch names", () => {
    const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
    expect(unanswered(new TypeError("fetch failed", { cause: reset }))).toMatchObject({
      kind: "unanswered",
      code: "ECONNRESET",
      status: null,
      message: "read ECONNRESET",
    });
  });
});

it("counts failures that are alike together, the most frequent first", () => {
  const failure = (code: string): SoakFailure => ({
    kind: "refused",
    code,
    status: 429,
    retryAfter: 1,
    message: `Refused for ${code}.`,
  });
  expect(countErrors(["a", "b", "b"].map(failure)).map(({ code, count }) => [code, count])).toEqual([
    ["b", 2],
    ["a", 1],
  ]);
});
