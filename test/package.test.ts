import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import dockerignore from "@balena/dockerignore";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { packageFolder } from "../src/package.js";

const text = (file: string): string => readFileSync(join(packageFolder, file), "utf8");

const manifest = z.object({ engines: z.object({ node: z.string() }) }).parse(JSON.parse(text("package.json")));

describe("the container image", () => {
  const ignored = dockerignore.default().add(text(".dockerignore"));
  const sources = copiedSources(text("Dockerfile"));

  test("copies something of the working tree", () => {
    expect(sources).toEqual(expect.arrayContaining(["package.json", "src", "migrations", "models"]));
  });

  test.each(sources)("finds all of %s behind .dockerignore", (source) => {
    const files = filesOf(source);
    expect(files.length).toBeGreaterThan(0);
    // Rivals are served by nobody who does not ask for them.
    expect(files.filter((file) => ignored.ignores(file) && !file.startsWith("models/rivals/"))).toEqual([]);
  });

  test("gets nothing that no COPY names", () => {
    const others = readdirSync(packageFolder).filter((name) => !sources.includes(name));
    expect(others).toContain("test");
    expect(others.filter((name) => !ignored.ignores(name))).toEqual([]);
  });
});

describe("Node", () => {
  test("is named by its floor in the README as in package.json", () => {
    const floor = /^>=(\d+\.\d+)$/.exec(manifest.engines.node)?.[1];
    expect(floor).toBeDefined();
    expect(text("README.md")).toContain(`Node.js ${floor} or newer`);
  });
});

/** What COPY takes from the working tree, not from an earlier stage. */
function copiedSources(dockerfile: string): string[] {
  const lines = dockerfile.split("\n").filter((line) => line.startsWith("COPY ") && !line.includes("--from="));
  const words = lines.flatMap((line) => line.split(/\s+/).slice(1, -1));
  return [...new Set(words.map((word) => word.replace(/^\.\//, "").replace(/\/$/, "")))];
}

/** The file itself, or all files of the folder; with /, from the package's folder. */
function filesOf(source: string): string[] {
  const path = join(packageFolder, source);
  if (!existsSync(path)) return [];
  if (statSync(path).isFile()) return [source];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => filesOf(`${source}/${entry.name}`));
}
