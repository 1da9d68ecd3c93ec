import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { formatHubName, parseHubName, pathOrHubName, readHubName } from "../../src/hub/hub-name.js";
import { temporaryFolder } from "../convert/tiny-folder.js";

describe("a hub name", () => {
  it.each([
    ["org/name", { repo: "org/name", name: "name", revision: "main", file: null }],
    ["HuggingFaceTB/SmolLM2-135M@v1.0", { repo: "HuggingFaceTB/SmolLM2-135M", name: "SmolLM2-135M", revision: "v1.0" }],
    ["org/name@refs/pr/3", { repo: "org/name", revision: "refs/pr/3" }],
    ["org/name/sub/model-Q4_0.gguf@main", { repo: "org/name", revision: "main", file: "sub/model-Q4_0.gguf" }],
    ["https://huggingface.co/org/name", { repo: "org/name" }],
    ["hf.co/org/name", { repo: "org/name" }],
  ])("is read: %s", (word, expected) => {
    expect(parseHubName(word)).toMatchObject(expected);
  });

  it.each([
    "name",
    "/org/name",
    "./org/name",
    "~/org/name",
    "../name",
    "org/name/more",
    "org/na--me",
    "org/na..me",
    "org/name.git",
    "org/name@",
    "org/name@-x",
    "org/name@a..b",
    "org/name@../../x",
    "org/name/../x.gguf",
    "org/name/a//b.gguf",
    "org/a\nb",
    `org/${"a".repeat(100)}`,
    "",
  ])("is refused with a sentence: %j", (word) => {
    expect(() => parseHubName(word)).toThrow(/is no name of a model on a hub: it must be org\/name, with @revision/);
    expect(readHubName(word)).toBeNull();
  });

  it("is written as it is read", () => {
    for (const word of ["org/name", "org/name@v1", "org/name/a/b.gguf", "org/name/b.gguf@v1"]) {
      expect(formatHubName(parseHubName(word))).toBe(word);
    }
  });
});

describe("what --model may be", () => {
  it("is a path where one exists, a name where one can be, else a path", () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "org", "here"), { recursive: true });
    expect(pathOrHubName("org/here", folder)).toBe(join(folder, "org", "here"));
    expect(pathOrHubName("org/there", folder)).toBe("org/there");
    expect(pathOrHubName("there", folder)).toBe(join(folder, "there"));
    expect(pathOrHubName("./org/there")).toBe(resolve("org/there"));
  });
});
