import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { packageFolder } from "../../src/package.js";
import { buildImage, type Stage, within } from "./build-image.js";

/** The user `node` of the official image. Only root can become somebody else; others run it as themselves. */
const node = { uid: 1000, gid: 1000 };
const isRoot = process.getuid?.() === 0;

/** Out of reach of the packages that are installed here. */
const scratch = mkdtempSync(join(tmpdir(), "toast-image-"));
let image: Stage;

beforeAll(() => {
  if (process.platform !== "linux") return;
  chmodSync(scratch, 0o755);
  image = buildImage(scratch);
}, 600_000);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const { dependencies, devDependencies } = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8")) as {
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
};

describe.runIf(process.platform === "linux")("the image", () => {
  it("holds what runs and nothing else: no sources, no training, no tools", () => {
    expect(readdirSync(within(image, ".")).toSorted()).toEqual([
      "LICENSE",
      "dist",
      "migrations",
      "models",
      "node_modules",
      "package.json",
      "sbom.cdx.json",
    ]);
    // What is only compared with is as large as the model.
    expect(readdirSync(within(image, "models"))).toEqual(["smollm2-135m-instruct"]);
    const has = (name: string) => existsSync(within(image, `node_modules/${name}`));
    expect(Object.keys(devDependencies).filter(has)).toEqual([]);
    expect(Object.keys(dependencies).filter((name) => !has(name))).toEqual([]);
    const platforms = readdirSync(within(image, "node_modules/onnxruntime-node/bin/napi-v6"), {
      recursive: true,
      encoding: "utf8",
    }).filter((path) => /^\w+\/\w+$/.test(path));
    expect(platforms).toEqual([`linux/${process.arch}`]);
  });

  it("has a bill of materials that names every package in it", () => {
    const bill = JSON.parse(readFileSync(within(image, "sbom.cdx.json"), "utf8")) as {
      bomFormat: string;
      metadata: { component: { name: string } };
      components: { name: string; hashes?: unknown[] }[];
    };
    expect([bill.bomFormat, bill.metadata.component.name]).toEqual(["CycloneDX", "toast-serve"]);
    const names = new Set(bill.components.map(({ name }) => name));
    const top = readdirSync(within(image, "node_modules")).flatMap((name) =>
      name.startsWith("@") ? readdirSync(within(image, `node_modules/${name}`)).map((own) => `${name}/${own}`) : name,
    );
    expect(top.length).toBeGreaterThan(50);
    expect(top.filter((name) => !names.has(name))).toEqual([]);
    expect(bill.components.filter(({ hashes = [] }) => hashes.length === 0)).toEqual([]);
  });

  it("serves as a user without rights, out of folders that cannot be written, and drains when it is told to", async () => {
    expect(image.user).toBe("node");
    const writable = ["/cache", "/data"].map((folder) => within(image, folder));
    if (isRoot) for (const folder of writable) chownSync(folder, node.uid, node.gid);
    chmodSync(within(image, "."), 0o555);
    const { PATH } = process.env;
    const port = 18_000 + (process.pid % 1000);
    const env = { PATH, ...image.environment, HOST: "127.0.0.1", PORT: String(port), THREADS: "1" };
    const asNode = { cwd: within(image, "."), env, ...(isRoot ? node : {}) };
    const [program = "", ...words] = [...image.entrypoint, ...image.command];
    const server = spawn(program, words, { ...asNode, stdio: ["ignore", "pipe", "pipe"] });
    const ended = once(server, "exit");
    let said = "";
    for (const stream of [server.stdout, server.stderr])
      stream.on("data", (bytes: Buffer) => {
        said += bytes.toString();
      });
    const health = async () => {
      const [command = "", ...rest] = image.healthcheck;
      return (await once(spawn(command, rest, asNode), "exit"))[0] as number;
    };
    await vi.waitFor(async () => expect(await health(), said).toBe(0), { timeout: 120_000, interval: 500 });
    const answer = await fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ messages: [{ role: "user", content: "Hi" }], max_tokens: 2 }),
    });
    expect(answer.status, said).toBe(200);
    // The arena's store, which is what a container writes.
    const board = await fetch(`http://127.0.0.1:${port}/v1/arena/leaderboard`);
    expect(board.status, said).toBe(200);
    expect(readdirSync(within(image, "/data")).length).toBeGreaterThan(0);
    server.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    expect(await health()).toBe(1);
    expect(said).not.toMatch(/EACCES|EROFS|EPERM/);
  });
});
