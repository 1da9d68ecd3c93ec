import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Hono } from "hono";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { webPage } from "../../../src/server/page/web-page.js";
import type { RequestEnvironment } from "../../../src/server/request-environment.js";
import type { ServerDeps } from "../../../src/server/server-deps.js";

/** The page alone, with nothing before it. */
function page(folder: string): Hono<RequestEnvironment> {
  const app = new Hono<RequestEnvironment>();
  for (const { method, path, respond } of webPage(folder)) {
    app.on(method, path, (context, next) => respond(context, {} as ServerDeps, next));
  }
  return app;
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "toast-page-"));
  await mkdir(join(folder, "assets"));
  await writeFile(join(folder, "index.html"), "<!doctype html><title>page</title>");
  await writeFile(join(folder, "assets", "index-abc.js"), "plain()");
  await writeFile(join(folder, "assets", "index-abc.js.br"), "pressed");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the page's routes", () => {
  it("serve the page with a policy that allows nothing from elsewhere and nothing inline", async () => {
    const response = await page(folder).request("/");
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toMatch(/^text\/html/);
    const policy = response.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(response.headers.get("referrer-policy")).toBe("no-referrer");
  });

  it("have the page asked about each time, and answer 304 while it is the same", async () => {
    const first = await page(folder).request("/");
    expect(first.headers.get("cache-control")).toBe("no-cache");
    const etag = first.headers.get("etag") ?? "";
    const second = await page(folder).request("/", { headers: { "if-none-match": etag } });
    expect(second.status).toBe(304);
    const other = await page(folder).request("/", { headers: { "if-none-match": '"another"' } });
    expect(other.status).toBe(200);
  });

  it("let assets be kept for ever, compressed for whoever can read that", async () => {
    const plain = await page(folder).request("/assets/index-abc.js");
    expect(plain.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
    expect(await plain.text()).toBe("plain()");
    const pressed = await page(folder).request("/assets/index-abc.js", {
      headers: { "accept-encoding": "gzip, br" },
    });
    expect(pressed.headers.get("content-encoding")).toBe("br");
    expect(pressed.headers.get("content-type")).toMatch(/^text\/javascript/);
    expect(pressed.headers.get("vary")).toMatch(/accept-encoding/i);
    expect(await pressed.text()).toBe("pressed");
  });

  it("serve nothing beside the page", async () => {
    await writeFile(join(folder, "secret.txt"), "secret");
    for (const path of ["/secret.txt", "/assets/../secret.txt", "/assets/%2e%2e/secret.txt", "/assets/none.js"]) {
      expect((await page(folder).request(path)).status, path).toBe(404);
    }
  });

  it("are none without a build", async () => {
    expect((await page(join(folder, "nothing")).request("/")).status).toBe(404);
  });
});
