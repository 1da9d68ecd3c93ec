import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { ScriptedEngine } from "../server/scripted-engine.js";
import { answerOf, errorOf, framesOf, startTestServer, streamedText } from "./start-test-server.js";

const question = { model: "tiny", messages: [{ role: "user", content: "Hi" }] };
const words = Array.from({ length: 10 }, (_, at) => `w${at} `);

async function slowServer(delayMs: number) {
  const engine = new ScriptedEngine();
  engine.script = { texts: words, delayMs };
  return { engine, server: await startTestServer([engine]) };
}

describe("a shutdown", () => {
  it("lets running answers end, and sends new requests away while they do", async () => {
    const { server } = await slowServer(50);
    const streamed = server.chat({ ...question, stream: true });
    const whole = server.chat(question);
    await expect.poll(() => server.running.count, { interval: 5 }).toBe(2);
    const stopped = server.shutdown(5_000);
    // Over new connections: a probe and a balancer learn of it at once.
    const ready = await server.exchange("/readyz");
    expect([ready.status, ready.headers.connection]).toEqual([503, "close"]);
    expect(JSON.parse(ready.text)).toEqual({ status: "draining", running: 2 });
    expect((await server.exchange("/livez")).status).toBe(200);
    const refused = await server.chat(question);
    expect([refused.status, refused.headers["retry-after"], errorOf(refused).code]).toEqual([
      503,
      "5",
      "server_draining",
    ]);
    expect(streamedText(await streamed)).toBe(words.join(""));
    expect(answerOf(await whole).choices[0]?.message.content).toBe(words.join(""));
    await stopped;
    // Refused, or reset when the client tries a connection that it had kept.
    const code: unknown = expect.stringMatching(/^ECONNRE(FUSED|SET)$/);
    await expect(server.exchange("/livez")).rejects.toMatchObject({ code });
  });

  it("ends what is not done at the deadline, with an error that says so", async () => {
    const { server, engine } = await slowServer(500);
    const streamed = server.chat({ ...question, stream: true });
    const whole = server.chat(question);
    // Both have said their first word: the stream's status is out.
    await expect.poll(() => engine.eventsRead, { interval: 5 }).toBeGreaterThanOrEqual(2);
    const startedAt = Date.now();
    await server.shutdown(100);
    expect(Date.now() - startedAt).toBeLessThan(2_500);
    const frames = framesOf(await streamed);
    expect(frames.at(-2)).toContain('"code":"server_draining"');
    expect(frames.at(-1)).toBe("data: [DONE]");
    expect((await whole).status).toBe(503);
    expect(engine.running).toBe(0);
  });

  it("does not wait for a reader that neither reads nor leaves, nor for a body that never comes", async () => {
    const engine = new ScriptedEngine();
    engine.script = { texts: Array.from({ length: 100_000 }, () => "a word that fills buffers ") };
    const server = await startTestServer([engine]);
    const body = JSON.stringify({ ...question, stream: true });
    const head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";
    const stalled = connect(server.port, "127.0.0.1");
    stalled.write(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    stalled.pause();
    const silent = connect(server.port, "127.0.0.1");
    silent.write(`${head}content-length: 100\r\n\r\n{`);
    for (const socket of [stalled, silent]) {
      socket.on("error", () => {});
    }
    await expect.poll(() => server.running.count).toBe(2);
    await server.shutdown(50);
    stalled.destroy();
    silent.destroy();
  });

  it("is quick when nothing runs, idle keep-alive connections or not", async () => {
    const { server } = await slowServer(1);
    await server.openai.models.list();
    const startedAt = Date.now();
    await server.shutdown(10_000);
    expect(Date.now() - startedAt).toBeLessThan(5_000);
  });
});
