import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { configLines } from "../../src/cli/print-config.js";
import { readConfigFile } from "../../src/cli/read-config-file.js";
import { parseServeConfig } from "../../src/settings/serve-config.js";
import { runCommand } from "../support/run-command.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "toast-config-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function fileOf(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

async function run(words: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const { code, outLines: out, err } = await runCommand(words, { environment, stop: AbortSignal.abort() });
  return { code, out, err };
}

const json = `{
  // Where clients find us.
  "host": "0.0.0.0", "port": 9000,
  "model": ["a", "/b"], /* two */
  "cors-origin": "https://chat.example",
  "log-prompts": true,
  "keep-alive-seconds": 2.5,
}`;
const yaml = `# Where clients find us.
host: 0.0.0.0
port: 9000
model: [a, /b]
cors-origin: https://chat.example
log-prompts: true
keep-alive-seconds: 2.5
`;

describe("a config file", () => {
  it.each([
    ["toast.json", json],
    ["toast.jsonc", json],
    ["toast.yaml", yaml],
    ["toast.yml", yaml],
  ])("says in %s what flags would say", async (name, text) => {
    const file = await readConfigFile(await fileOf(name, text));
    expect(parseServeConfig({}, {}, file)).toMatchObject({
      host: "0.0.0.0",
      port: 9000,
      models: [join(folder, "a"), "/b"],
      corsOrigins: ["https://chat.example"],
      logPrompts: true,
      keepAliveMs: 2_500,
    });
  });

  it.each([
    ["a.json", '{"prot": 1}', /has 'prot', which is no setting\. Did you mean 'port'\?/],
    ["b.yaml", "max_running: 3", /Did you mean 'max-running'\?/],
    ["c.json", '{"port": 1', /is not JSON: CloseBraceExpected in line 1/],
    ["d.json", '{\n"port": 1\n"host": "a"}', /is not JSON: CommaExpected in line 3/],
    ["e.yaml", "port: [1", /is not YAML: /],
    ["f.json", "[1]", /must hold an object/],
    ["g.json", '{"port": {"a": 1}}', /'port' of .*g\.json must be text, a number, true or false\./],
    ["h.json", '{"port": [1]}', /'port' of .*h\.json must be text, a number, true or false\./],
    ["i.json", '{"model": [null]}', /must be text, a number, true or false, or a list of such\./],
    ["j.json", '{"port": 70000}', /'port' of .*j\.json must be an integer from 0 to 65535; got '70000'\./],
    ["k.toml", "port = 1", /must end in \.json, \.jsonc, \.yaml or \.yml\./],
    ["l.yaml", "port: &a 1\nthreads: *a", /is not YAML/],
  ])("is refused in words: %s %j", async (name, text, message) => {
    const { code, err } = await run(["serve", "--config", await fileOf(name, text)]);
    expect(code).toBe(2);
    expect(err).toMatch(message);
  });

  it("that is missing is refused, also when the environment names it", async () => {
    const { code, err } = await run(["serve"], { CONFIG_FILE: join(folder, "none.json") });
    expect([code, err]).toEqual([2, expect.stringContaining("The config file cannot be read: ENOENT")]);
  });
});

describe("--print-config", () => {
  const environment = { PORT: "9001", API_KEYS: "a-key-that-nobody-guesses,another-of-this-kind" };

  it("says what holds and where it comes from, hides keys, and prints a config file", async () => {
    const path = await fileOf("print.json", '{"port": 1, "threads": 2, "cors-origin": ["https://a.example"]}');
    const { code, out } = await run(
      ["serve", "--config", path, "--cache-mb", "500", "--log-prompts", "--print-config"],
      environment,
    );
    expect(code).toBe(0);
    expect(out).toContain('  "port": 9001, // PORT');
    expect(out).toContain(`  "threads": 2, // 'threads' of ${path}`);
    expect(out).toContain(`  "cors-origin": ["https://a.example"], // 'cors-origin' of ${path}`);
    expect(out).toContain('  "cache-mb": 500, // --cache-mb');
    expect(out).toContain('  "log-prompts": true, // --log-prompts');
    expect(out).toContain('  // "api-key": 2 hidden, from API_KEYS');
    expect(out).toContain('  // "host": 127.0.0.1 (default)');
    expect(out.join("\n")).not.toMatch(/nobody|of-this-kind/);
    const again = await readConfigFile(await fileOf("again.json", out.join("\n")));
    const { apiKeys: _, ...printed } = parseServeConfig({}, {}, again);
    const { apiKeys: __, ...meant } = parseServeConfig(
      { "cache-mb": "500", "log-prompts": true },
      environment,
      await readConfigFile(path),
    );
    expect(printed).toEqual(meant);
  });

  it("fails as serving would", () => {
    expect(() => configLines({ port: "x" }, {}, null)).toThrow("--port must be an integer");
  });
});

describe("flags", () => {
  it("are listed in groups", async () => {
    const { out } = await run(["serve", "--help"]);
    const headings = out.join("\n").match(/^\S.*:$/gm);
    expect(headings).toEqual([
      "Models:",
      "Engine:",
      "Connections:",
      "Who may call, and how much:",
      "Arena:",
      "Log:",
      "Options:",
      "Examples:",
    ]);
  });

  it("reach the settings that are not named after them", async () => {
    const { code, err } = await run(["serve", "--cache-mb", "0"]);
    // A line of the log, as it is no terminal that it goes to.
    expect([code, JSON.parse(err).msg]).toEqual([2, "--cache-mb must be an integer from 1 to 16777216; got '0'."]);
  });
});
