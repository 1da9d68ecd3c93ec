import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { type RunningApp, startApp } from "../../src/app.js";
import { convert } from "../../src/convert/convert.js";
import { createLog } from "../../src/server/edge/request-log.js";
import { parseServeConfig } from "../../src/settings/serve-config.js";
import { workerUrl } from "./open-test-model.js";

// Models and names as operators have them, each with a server of its own.

const source = fileURLToPath(new URL("../tiny/gqa", import.meta.url));
const closing: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const close of closing.toReversed()) await close();
});

async function serve(
  chatTemplate: string,
  flags: Readonly<Record<string, string | string[]>> = {},
): Promise<RunningApp> {
  const scratch = await mkdtemp(join(tmpdir(), "toast-reported-"));
  closing.push(() => rm(scratch, { recursive: true, force: true }));
  const out = join(scratch, "tiny");
  const adapters = [{ file: join(source, "adapter.safetensors"), name: "alpaca" }];
  await convert({ source, out, quantize: "none", modelId: "tiny", adapters, chatTemplate });
  const config = parseServeConfig(
    { model: [out], port: "0", threads: "1", "data-dir": join(scratch, "data"), ...flags },
    { DRAIN_SECONDS: "0" },
  );
  const app = await startApp(config, { workerUrl, log: createLog("silent", "json", () => {}) });
  closing.push(() => app.stop());
  await app.ready();
  return app;
}

const post = async (app: RunningApp, path: string, body: object) => {
  const response = await fetch(`${app.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as { readonly model?: unknown } };
};
const messages = [{ role: "user", content: "Hi" }];
const plainTemplate = "{% for m in messages %}{{ m.content }}{% endfor %}";

it("a model answers to the names that its operator gives it, a slash in them or not, and to no other", async () => {
  const app = await serve(plainTemplate, { "served-model-name": ["org/tiny", "gpt-3.5-turbo"] });
  for (const model of ["org/tiny", "gpt-3.5-turbo", "org/tiny:alpaca", "tiny"]) {
    const answer = await post(app, "/v1/chat/completions", { model, messages, max_tokens: 2 });
    expect([answer.status, answer.body.model]).toEqual([200, model]);
  }
  const nameless = await post(app, "/v1/chat/completions", { messages, max_tokens: 2 });
  expect([nameless.status, nameless.body.model]).toEqual([200, "tiny"]);
  for (const path of ["/v1/models/org/tiny", "/v1/models/org%2Ftiny"]) {
    const response = await fetch(app.url + path);
    expect([response.status, await response.json()]).toMatchObject([200, { id: "org/tiny" }]);
  }
  const other = await post(app, "/v1/chat/completions", { model: "gpt-4", messages });
  expect([other.status, other.body]).toMatchObject([404, { error: { code: "model_not_found", param: "model" } }]);
});

it("the name of who speaks reaches a template that writes it", async () => {
  const app = await serve(
    "{% for m in messages %}{{ m.role }}{% if m.name %}({{ m.name }}){% endif %}: {{ m.content }}\n{% endfor %}",
  );
  const said = ["ann", "bo"].map((name) => ({ role: "user", name, content: "hi" }));
  const { body } = await post(app, "/apply-template", { model: "tiny", messages: said });
  expect(body).toMatchObject({ prompt: "user(ann): hi\nuser(bo): hi\n" });
});

describe("a model whose template cannot be read", () => {
  it("serves completions, and names itself where it is asked with messages", async () => {
    const app = await serve("{% for m in messages %}{{ m.content }}");
    expect((await post(app, "/v1/completions", { model: "tiny", prompt: "Hi", max_tokens: 2 })).status).toBe(200);
    const chat = await post(app, "/v1/chat/completions", { model: "tiny", messages });
    expect(chat.status).toBeGreaterThanOrEqual(400);
    expect(chat.body).toMatchObject({
      error: {
        message: expect.stringMatching(
          /^Model tiny cannot be asked with messages\. The chat template cannot be read: /,
        ),
      },
    });
    expect((await fetch(`${app.url}/readyz`)).status).toBe(200);
  });
});
