import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { welcome } from "../../src/cli/serve-command.js";
import { servedModelsOf } from "../../src/engine/served-model.js";
import { scriptedModel } from "../server/scripted-engine.js";
import { runCommand } from "../support/run-command.js";

let empty: string;
beforeAll(async () => {
  empty = await mkdtemp(join(tmpdir(), "toast-cli-"));
});
afterAll(() => rm(empty, { recursive: true }));

function run(...words: string[]) {
  return runCommand(words, { stop: AbortSignal.abort() });
}

describe("the command line", () => {
  it.each([
    [["--help"], ["convert", "bench", "Examples:"]],
    [
      ["serve", "--help"],
      ["--models-dir <folder>", "PORT; default: 8000", "Examples:"],
    ],
    [
      ["convert", "--help"],
      ["<model>", "--adapter <file>", "alpaca, vicuna", "Examples:"],
    ],
    [
      ["pull", "--help"],
      ["org/name@revision", "HF_TOKEN", "HF_HUB_OFFLINE=1", "TOAST_CACHE", "Never pickles", "Examples:"],
    ],
    [
      ["bench", "--help"],
      ["--shape <name>", "tinyllama-1.1b", "--url <address>", "1,4,8,16", "--json", "Examples:"],
    ],
  ])("teaches: %j", async (words, expected) => {
    const { code, out } = await run(...words);
    expect(code).toBe(0);
    for (const text of expected) {
      // The help wraps where the terminal ends.
      expect(out.replaceAll(/\s+/g, " ")).toContain(text);
    }
  });

  it("knows its version", async () => {
    expect((await run("--version")).out).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it.each([
    [["--port", "abc"], "--port must be an integer from 0 to 65535; got 'abc'."],
    [["--frobnicate"], "error: unknown option '--frobnicate'"],
    [["frobnicate"], "error: too many arguments for 'serve'"],
    [["convert", "--out", "y"], "error: missing required argument 'model'"],
    [["convert", "x"], "error: required option '--out <folder>' not specified"],
    [["convert", "x", "--out", "y", "--quantize", "int3"], "Allowed choices are none, int8"],
    [["convert", "x", "--out", "y", "--adapter", "a.safetensors"], "Each --adapter needs a --name"],
    [["convert", "x", "--out", "y", "--chat-template", "nope"], "--chat-template must be alpaca, vicuna or a file"],
    [["bench", "--tokens", "0"], "It must be a positive integer."],
    [["bench", "--streams", "1,,4"], "It must be positive integers with commas between them."],
    [["bench", "--streams", "4,4"], "Each number can stand there once."],
    [
      ["bench", "--only", "decode,speed"],
      "Allowed are prefill, contexts, acceptance, decode, guesses, reports, masks, bandwidth, health",
    ],
    [["bench", "--temperature", "2.5"], "It must be a number from 0 to 2."],
    [["bench", "--shape", "giant"], "Allowed choices are tinyllama-1.1b"],
    [["bench", "x", "--shape", "tiny"], "give one of them"],
    [["bench", "--url", "http://127.0.0.1:9"], "--url needs --model-id"],
    [["bench", "--keep", "y"], "--keep says nothing about a model folder; it goes with --shape."],
  ])("exits with 2 and a sentence: %j", async (words, message) => {
    const { code, err, out } = await run(...words);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(message);
  });

  it("exits with 1 and a sentence when there is no model", async () => {
    const nothing = await run("serve", "--models-dir", empty, "--port", "0");
    expect(nothing.code).toBe(1);
    expect(nothing.err).toContain(`There is no model in ${empty}. Make one with 'toast-serve convert`);
    const missing = await run("serve", "--model", join(empty, "x"), "--port", "0");
    expect(missing.code).toBe(1);
    expect(missing.err).toContain("is no converted model: it has no manifest.json");
  });
});

describe("the welcome", () => {
  it("names every model and gives a line to paste, on the steered one", () => {
    const lines = welcome("http://127.0.0.1:8000", servedModelsOf(scriptedModel));
    expect(lines[0]).toBe("Serving on http://127.0.0.1:8000");
    expect(lines.slice(1, 4).map((line) => line.trim().split(" ")[0])).toEqual(["tiny", "tiny:alpaca", "tiny:poet"]);
    expect(lines.at(-1)).toMatch(
      /^ {2}curl -N http:\/\/127\.0\.0\.1:8000\/v1\/chat\/completions .*"model":"tiny:alpaca"/,
    );
  });
});
