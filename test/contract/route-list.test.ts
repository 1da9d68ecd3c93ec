import { readFileSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { pathTemplate } from "../../src/server/page/openapi-document.js";
import { routes } from "../../src/server/routes.js";

const page = new URL("../../docs/api.md", import.meta.url);
const head = "| route | | needs |\n| --- | --- | --- |\n";
const needs = { open: "nothing", metrics: "see `--metrics-access`", user: "a key", admin: "an operator's key" };

it("docs/api.md lists every route (`npm run conformance` writes the list)", () => {
  const lines = routes.flatMap(({ method, path, access, operation }) =>
    operation === null ? [] : [`| \`${method} ${pathTemplate(path)}\` | ${operation.summary} | ${needs[access]} |\n`],
  );
  const text = readFileSync(page, "utf8");
  const [before = "", after = ""] = text.split(head);
  const whole = before + head + lines.join("") + after.replace(/^(\|.*\n)*/, "");
  const { CONFORMANCE } = process.env;
  if (CONFORMANCE === "write") writeFileSync(page, whole);
  else expect(text).toBe(whole);
});
