import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { Reporter, TestCase, TestModule } from "vitest/node";
import { wireRows } from "./conformance-rows.js";

/** Beside README.md: which wire rows hold, made from a run of the tests that are named after them. */
const file = fileURLToPath(new URL("../../CONFORMANCE.md", import.meta.url));
const root = fileURLToPath(new URL("../../", import.meta.url));

interface RowTest {
  readonly row: number;
  readonly name: string;
  readonly source: string;
  readonly passed: boolean;
}

/**
 * Gathers the tests named `wire row N: …`. `npm run conformance` writes what they say to CONFORMANCE.md; every other run of
 * the whole suite holds the file against what it saw, and fails where they differ.
 */
export default class ConformanceReporter implements Reporter {
  readonly #tests: RowTest[] = [];
  #isWhole = true;

  onTestCaseResult(test: TestCase): void {
    const row = /^wire row (\d+): (.+)$/.exec(test.name);
    if (row?.[1] === undefined || row[2] === undefined) return;
    const source = relative(root, test.module.moduleId);
    this.#tests.push({ row: Number(row[1]), name: row[2], source, passed: test.ok() });
  }

  onTestRunStart(specifications: readonly unknown[]): void {
    // A run of some files says nothing of the others.
    const files = readdirSync(`${root}test`, { recursive: true, encoding: "utf8" });
    this.#isWhole = specifications.length === files.filter((name) => name.endsWith(".test.ts")).length;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const { CONFORMANCE } = process.env;
    const isWriting = CONFORMANCE === "write";
    if (!isWriting && !this.#isWhole) return;
    const skipped = modules.some((module) => [...module.children.allTests("skipped")].length > 0);
    const before = readFileSync(file, "utf8");
    const page = conformancePage(this.#tests, clientCounts(before));
    if (isWriting) {
      writeFileSync(file, page);
      process.stdout.write(`CONFORMANCE.md: ${this.#tests.length} tests of ${wireRows.length} rows\n`);
      return;
    }
    if (!skipped && before !== page) {
      process.stderr.write("CONFORMANCE.md is out of date: run `npm run conformance` and commit it.\n");
      process.exitCode = 1;
    }
  }
}

/** What `scripts/check_clients.py --counts` has put into the page, which this one leaves as it is. */
export function clientCounts(page: string): string {
  return /<!-- table:clients -->\n([\s\S]*?)<!-- \/table -->/.exec(page)?.[1] ?? "";
}

/**
 * @param counts of clients that others wrote: see {@link clientCounts}.
 * @returns the page; the same for the same tests, whatever order they ran in.
 */
export function conformancePage(tests: readonly RowTest[], counts: string): string {
  const rows = wireRows.flatMap((detail, at) => {
    const own = tests
      .filter(({ row }) => row === at + 1)
      .toSorted((a, b) => (`${a.source} ${a.name}` < `${b.source} ${b.name}` ? -1 : 1));
    const state = own.length === 0 ? "untested" : own.every(({ passed }) => passed) ? "holds" : "fails";
    const files = [...new Set(own.map(({ source }) => source))].map(
      (source) => `[${source.split("/").at(-1)}](${source})`,
    );
    return `| ${at + 1} | ${detail} | ${state} | ${own.length} in ${files.join(", ")} |`;
  });
  return `# Conformance

Details of OpenAI's interface that clients rely on and servers get wrong, and whether they hold here. This page is made by
\`npm run conformance\` from the tests of that run, each of which reads bytes from a real socket; the tests fail when it is out of date.
Clients of others, run from their registries, are [below](#suites-from-registries).

| # | detail | state | tests |
| --- | --- | --- | --- |
${rows.join("\n")}

Beyond the rows:

* Every answer, event and error that the contract tests see, and every request that they see accepted, is valid by the server's
  own [/openapi.json](test/contract/own-document.ts), which is made from the schemas that check requests and type answers.
* That document promises what [OpenAI's published one](test/contract/openai-shapes.json) requires of the shapes they share, and
  answers of all generating endpoints are valid by the published shapes themselves ([openapi.test.ts](test/contract/openapi.test.ts)).
* The official \`openai\` client, the Vercel AI SDK and LangChain get texts, streams, usage and errors, and can hang up
  ([openai-client.test.ts](test/contract/openai-client.test.ts), [sdk-clients.test.ts](test/contract/sdk-clients.test.ts)).
* The official Anthropic client gets texts, typed events, calls, counts and errors from \`/v1/messages\`, and what agents send is
  taken or refused by name ([anthropic-client.test.ts](test/contract/anthropic-client.test.ts)).
* \`/v1/embeddings\` has PyTorch's vectors, plain and steered (cosine over 0.9999 in fp32, over 0.99 in int8), and the official
  \`openai\` client, the Vercel AI SDK and LangChain read them ([embeddings.test.ts](test/contract/embeddings.test.ts)).
* Ollama's routes are held by the official \`ollama\` client: chats, prompts, streams, options, schemas, tools, embeddings, lists,
  refusals ([ollama-client.test.ts](test/contract/ollama-client.test.ts)).
* 10,000 mutated requests meet no failure of the server's own and leave nothing behind
  ([request-fuzz.test.ts](test/contract/request-fuzz.test.ts)).

## Suites from registries

Clients, agents and scanners that others wrote, each from pip's or npm's registry in an environment of its own, against a running
server with the default model. \`python check_clients.py --out ../docs/clients.md --counts ../CONFORMANCE.md\` in \`scripts/\` runs
them all and writes this table; [docs/clients.md](docs/clients.md) lists the checks, a section for each.

<!-- table:clients -->
${counts}<!-- /table -->
`;
}
