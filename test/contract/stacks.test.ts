import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { convertTestModel } from "./open-test-model.js";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

/** The built program on a tiny model, with vectors that the server itself makes. */
let scratch: string;
let folder: string;
let remove: () => Promise<void>;
let url: string;
let stop: () => Promise<unknown>;

const told = { id: "told", label: "Told to be happy", model: "tiny", system: "Act as if you are extremely happy." };
const contestants = [
  "tiny:alpaca@0.5+happy@2",
  { id: "happy-in-one", model: "tiny", steering: { vectors: [{ name: "happy", strength: 2, layers: [1, 1] }] } },
  told,
  { id: "lost", model: "tiny", steering: { vectors: [{ name: "gone" }] }, arena: false },
  { id: "tiny", arena: false },
  { id: "tiny:alpaca", arena: false },
];

function program(words: readonly string[]) {
  const child = spawn(process.execPath, [main, ...words], { env: { DATA_DIR: join(scratch, "data") } });
  const said = { out: "", err: "" };
  child.stdout.on("data", (chunk: Buffer) => {
    said.out += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    said.err += chunk.toString();
  });
  const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return { child, said, exit };
}

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "toast-stacks-"));
  ({ folder, remove } = await convertTestModel());
  await writeFile(join(scratch, "contestants.json"), JSON.stringify(contestants));
  const { child, said, exit } = program([
    ...["serve", "--model", folder, "--port", "0", "--contestants", join(scratch, "contestants.json")],
    ...["--battle-pace", "100000", "--drain-seconds", "0"],
  ]);
  stop = () => {
    child.kill("SIGTERM");
    return exit;
  };
  await vi.waitFor(() => expect(said.out).toMatch(/Serving on \S+/), { timeout: 60_000, interval: 100 });
  url = /Serving on (\S+)/.exec(said.out)?.[1] ?? "";
  for (const [name, positive, negative] of [
    ["happy", "extremely happy", "extremely sad"],
    ["formal", "a formal and polite diplomat", "a casual teenager"],
  ]) {
    const made = await post("/v1/vectors", { name, positive, negative, layers: [1, 1], sweep: false });
    expect(made.status).toBe(201);
  }
});
afterAll(async () => {
  await stop();
  await remove();
  await rm(scratch, { recursive: true, force: true });
});

const post = (path: string, body: object) => fetch(url + path, { method: "POST", body: JSON.stringify(body) });

interface Frame {
  readonly kind: string;
  readonly side?: string;
  readonly id?: string;
  readonly ballot?: string;
  readonly error?: { readonly message: string };
  readonly answer?: { readonly text: string; readonly steering: unknown; readonly system: string | null };
}
const framesOf = async (response: Response): Promise<readonly Frame[]> =>
  (await response.text())
    .split("\n\n")
    .filter((frame) => frame.startsWith("data: {"))
    .map((frame) => JSON.parse(frame.slice("data: ".length)));

const shared = { prompt: "Tell me a story.", max_tokens: 12, seed: 3, temperature: 0.7 };

describe("stacks in the arena of a real server", () => {
  it("are listed with what steers them and what they are told", async () => {
    const { data } = (await (await fetch(`${url}/v1/contestants`)).json()) as { data: { id: string }[] };
    const byId = new Map(data.map((one) => [one.id, one]));
    expect(byId.get("tiny:alpaca@0.5+happy@2")).toMatchObject({
      label: "tiny:alpaca@0.5+happy@2",
      model: "tiny:alpaca",
      steering: { strength: 0.5, vectors: [{ name: "happy", strength: 2 }] },
      system: null,
    });
    expect(byId.get("told")).toMatchObject({ label: told.label, steering: null, system: told.system });
  });

  it("meet blind: a whole stack against a system message, named once the vote is cast", async () => {
    const wanted = ["told", "tiny:alpaca@0.5+happy@2"];
    const response = await post("/v1/arena/battles", { ...shared, contestants: wanted });
    const text = await response.clone().text();
    expect(text).not.toMatch(/told|happy|alpaca|tiny/);
    const last = (await framesOf(response)).at(-1);
    expect(last?.kind).toBe("complete");
    const vote = await post(`/v1/arena/battles/${last?.id}/vote`, { ballot: last?.ballot, winner: "left" });
    const record = (await vote.json()) as { left: { contestant: string }; right: { contestant: string } };
    const stacked = [record.left, record.right].find(({ contestant }) => contestant === "tiny:alpaca@0.5+happy@2");
    expect(stacked).toMatchObject({
      adapter: "alpaca",
      steering: { adapter: "alpaca", strength: 0.5, vectors: [{ name: "happy", strength: 2, layers: [1, 1] }] },
      vector_hashes: [{ name: "happy", hash: expect.stringMatching(/^\w{8,}$/) }],
      system: null,
    });
    expect([record.left, record.right].find(({ contestant }) => contestant === "told")).toMatchObject({
      label: told.label,
      steering: null,
      vector_hashes: null,
      system: told.system,
    });
    const board = (await (await fetch(`${url}/v1/arena/leaderboard`)).json()) as {
      contestants: { contestant: string }[];
    };
    expect(new Set(board.contestants.map(({ contestant }) => contestant))).toEqual(new Set(wanted));
  });

  it("say what chat completions say with the same steering and system message", async () => {
    const vectors = [
      { name: "happy", strength: -2 },
      { name: "formal", strength: 2 },
    ];
    const system = "You speak to the king.";
    const compared = await post("/v1/compare", {
      ...shared,
      contestants: [{ contestant: "tiny:alpaca", steering: { vectors }, system }, "happy-in-one"],
    });
    const ends = (await framesOf(compared)).filter(({ kind }) => kind === "end");
    const answerOf = (wanted: string) => ends.find(({ side }) => side === wanted)?.answer;
    const asked = async (model: string, steering: object, opening: object[]) => {
      const messages = [...opening, { role: "user", content: shared.prompt }];
      const { prompt: _, ...sampling } = shared;
      const answer = await post("/v1/chat/completions", { model, ...sampling, top_p: 1, messages, steering });
      const { choices } = (await answer.json()) as { choices: { message: { content: string } }[] };
      return choices[0]?.message.content;
    };
    expect(answerOf("left")).toMatchObject({
      text: await asked("tiny:alpaca", { vectors }, [{ role: "system", content: system }]),
      system,
    });
    const one = { vectors: [{ name: "happy", strength: 2, layers: [1, 1] }] };
    expect(answerOf("right")?.text).toBe(await asked("tiny", one, []));
    expect(answerOf("right")?.text).not.toBe(await asked("tiny", {}, []));
  });

  it("are refused with a sentence where the vector is not there, and the next battle goes on", async () => {
    const failed = await framesOf(await post("/v1/compare", { ...shared, contestants: ["lost", "told"] }));
    const error = failed.find(({ kind }) => kind === "error");
    expect(error?.error?.message).toMatch(
      /no control vector 'gone'. Its control vectors: (formal, happy|happy, formal)\./,
    );
    expect(failed.filter(({ kind }) => kind === "end")).toHaveLength(1);
    const tooMany = { contestant: "tiny", steering: { vectors: [{ name: "happy", strength: 9 }] } };
    const refused = await post("/v1/compare", { ...shared, contestants: [tooMany, "told"] });
    expect(refused.status).toBe(400);
    expect(await refused.text()).toMatch(
      /contestants\[0\].steering.vectors\[0\].strength' must be a number from -4 to 4/,
    );
    const good = await framesOf(await post("/v1/compare", { ...shared, contestants: ["happy-in-one", "told"] }));
    expect(good.filter(({ kind }) => kind === "end")).toHaveLength(2);
  });
});

describe("toast-serve ab with stacks", () => {
  const ab = async (left: string, right: string) => {
    const prompts = join(scratch, "prompts.jsonl");
    await writeFile(prompts, '{"prompt": "Tell me a story."}\n{"prompt": "Who are you?"}\n');
    const out = join(scratch, "out");
    const { said, exit } = program([
      ...["ab", "--left", left, "--right", right, "--prompts", prompts, "--out", out, "--max-tokens", "8"],
      ...["--contestants", join(scratch, "contestants.json"), "--models-dir", join(folder, "..")],
    ]);
    const code = await exit;
    const records = code === 0 ? (await readFile(join(out, "battles.jsonl"), "utf8")).trim().split("\n") : [];
    await rm(out, { recursive: true, force: true });
    return { code, ...said, records: records.map((line) => JSON.parse(line)) };
  };

  it("lets a stack meet a system message; names are those of the command line", async () => {
    const { code, records, err } = await ab(`${folder}:alpaca@0.5+happy@2+formal@-1:1-1`, "told");
    expect([code, err]).toEqual([0, expect.any(String)]);
    expect(records).toHaveLength(2);
    expect(records[0].left).toMatchObject({
      contestant: "tiny:alpaca@0.5+happy@2+formal@-1:1-1",
      steering: {
        adapter: "alpaca",
        strength: 0.5,
        vectors: [
          { name: "happy", strength: 2 },
          { name: "formal", strength: -1, layers: [1, 1] },
        ],
      },
    });
    expect(records[0].right).toMatchObject({ contestant: "told", system: told.system });
    const same = await ab("tiny:alpaca@0.5+happy@2+formal@-1:1-1", "happy-in-one");
    expect(same.records.map(({ left }) => left.text)).toEqual(records.map(({ left }) => left.text));
  });

  it.each([
    ["tiny+gone@1", /no control vector 'gone'. Its control vectors: (formal, happy|happy, formal)\./],
    ["tiny+happy@9", /the strength of 'happy' must be a number from -4 to 4\./],
    ["tiny@0.5", /names no adapter to steer with/],
    ["told+happy", /'told' is an entry of --contestants: say there what steers it/],
  ])("refuses %s with a sentence before anything is asked", async (left, sentence) => {
    const { code, err } = await ab(left, "told");
    expect(code).not.toBe(0);
    expect(err).toMatch(sentence);
  });
});
