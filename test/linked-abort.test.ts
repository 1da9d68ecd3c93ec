import { getEventListeners, once } from "node:events";
import { expect, it } from "vitest";
import { linkedAbort } from "../src/linked-abort.js";

it("aborts when any of its signals does, for that one's reason, and leaves the others alone", () => {
  const [request, server] = [new AbortController(), new AbortController()];
  const { controller } = linkedAbort(request.signal, server.signal);

  server.abort("the server stops");

  expect(controller.signal.reason).toBe("the server stops");
  expect(getEventListeners(request.signal, "abort")).toEqual([]);
});

it("is aborted from the start behind a signal that has been", () => {
  const { controller } = linkedAbort(new AbortController().signal, AbortSignal.abort("over"));

  expect(controller.signal.reason).toBe("over");
});

it("leaves nothing behind at signals that live longer", () => {
  const [request, server] = [new AbortController(), new AbortController()];
  const { controller, unlink } = linkedAbort(request.signal, server.signal);

  unlink();
  server.abort();

  expect(controller.signal.aborted).toBe(false);
  expect(getEventListeners(server.signal, "abort")).toEqual([]);
});

it("takes as many listeners as a request has parts, without a warning", async () => {
  const { controller } = linkedAbort(new AbortController().signal);
  const warned = once(process, "warning");

  for (let part = 0; part < 12; part++) controller.signal.addEventListener("abort", () => part);
  // Comes behind any that these have caused.
  process.emitWarning("the last one");

  expect(String((await warned)[0])).toContain("the last one");
});
