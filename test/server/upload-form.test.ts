import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { ToastError } from "../../src/errors.js";
import { RunningRequests } from "../../src/server/generate/running-requests.js";
import { listen } from "../../src/server/http-server.js";
import { type FormRules, receiveForm } from "../../src/server/upload-form.js";

it("a form that is refused early is read on, so that its sender sees the sentence, again and again", async () => {
  const folders: string[] = [];
  const rules = async (): Promise<FormRules> => {
    const folder = await mkdtemp(join(tmpdir(), "toast-form-"));
    folders.push(folder);
    const refusal = (name: string) => new ToastError("invalid_request", `'${name}' is refused.`);
    return { folder, maxBytes: 64e6, fields: [], ownNameOf: () => null, subject: "the adapter", refusal };
  };
  const answer = async (request: Request) => {
    try {
      await receiveForm(request, await rules());
      return new Response("taken");
    } catch (cause) {
      return new Response(String(cause), { status: 400 });
    }
  };
  const running = new RunningRequests({ timeoutMs: null });
  const server = await listen(answer, { host: "127.0.0.1", port: 0, running });
  onTestFinished(async () => {
    await server.shutdown(0);
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  });
  for (let round = 0; round < 20; round++) {
    const form = new FormData();
    for (const name of ["a", "b", "c"]) form.append("file", new Blob([new Uint8Array(1_000_000)]), name);
    const refused = await fetch(server.url, { method: "POST", body: form });
    expect([round, refused.status, await refused.text()]).toEqual([round, 400, "ToastError: 'a' is refused."]);
  }
});
