import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageFolder } from "../src/package.js";

/** Biome wraps code and leaves comments as they are. */
const maxWidth = 120;

/** Behind `//`, or a line of a block comment. What stands behind code on its line is Biome's. */
const comment = /^\s*(\/\/|\/?\*)/;
/** What a tool reads stands on one line, however long. */
const directive = /biome-ignore|https?:\/\/\S{80}/;

function tooWide(text: string): readonly number[] {
  return text.split("\n").flatMap((line, index) => {
    return line.length > maxWidth && comment.test(line) && !directive.test(line) ? [index + 1] : [];
  });
}

describe("comments", () => {
  it("are found too wide by the character, and code is not", () => {
    const wide = "x".repeat(maxWidth - 2);
    expect(tooWide(`// ${wide}\n * ${wide.slice(1)}\n  /** ${wide}\n${wide}${wide}\n`)).toEqual([1, 3]);
  });

  it(`of src fit ${maxWidth} columns`, () => {
    const files = readdirSync(join(packageFolder, "src"), { recursive: true, encoding: "utf8" });
    const sources = files.filter((file) => /\.(ts|tsx|css)$/.test(file));
    expect(sources.length).toBeGreaterThan(100);
    const wide = sources.flatMap((file) =>
      tooWide(readFileSync(join(packageFolder, "src", file), "utf8")).map((line) => `src/${file}:${line}`),
    );
    expect(wide).toEqual([]);
  });
});

/** Lines of running text: no code, table, picture or quotation, which cannot be wrapped or are not ours to wrap. */
function tooWideProse(text: string): readonly number[] {
  let isCode = false;
  return text.split("\n").flatMap((line, index) => {
    if (/^\s*```/.test(line)) isCode = !isCode;
    const isProse = !isCode && !/^\s*(\||<|!|>|\[[^\]]+\]:)/.test(line) && line.trimStart().includes(" ");
    return isProse && line.length > maxWidth ? [index + 1] : [];
  });
}

describe("documents", () => {
  it("are found too wide where they are running text", () => {
    const wide = "word ".repeat(25).trim();
    const text = `${wide}\n| ${wide} |\n\`\`\`\n${wide}\n\`\`\`\n* ${wide}\n> ${wide}`;
    expect(tooWideProse(text)).toEqual([1, 6]);
  });

  it(`fit ${maxWidth} columns`, () => {
    const docs = readdirSync(join(packageFolder, "docs")).filter((file) => file.endsWith(".md"));
    const files = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", ...docs.map((file) => `docs/${file}`)];
    const wide = files.flatMap((file) =>
      tooWideProse(readFileSync(join(packageFolder, file), "utf8")).map((line) => `${file}:${line}`),
    );
    expect(wide).toEqual([]);
  });
});
