import { Agent, request } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";

/**
 * Somebody who has nothing to do with what is done to a server: asks for 8 tokens again and again, and for its health,
 * from a thread of his own, so that whoever attacks it does not delay his clock. Ends at the first message, and tells
 * how long everything took, in milliseconds.
 */
const { url, key, body } = workerData;
const agent = new Agent({ keepAlive: true });
const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
const took = { tokens: [], ready: [], alive: [] };
const refusals = [];
let isOver = false;
parentPort.once("message", () => {
  isOver = true;
});

const exchange = (path, sent) =>
  new Promise((resolve, reject) => {
    const begunAt = performance.now();
    const outgoing = request(
      url + path,
      { agent, headers, method: sent === undefined ? "GET" : "POST" },
      (incoming) => {
        let said = "";
        incoming.on("data", (bytes) => {
          said += bytes;
        });
        incoming.on("error", reject);
        incoming.on("end", () => {
          if (incoming.statusCode !== 200) refusals.push(`${path}: ${incoming.statusCode} ${said.slice(0, 200)}`);
          resolve(performance.now() - begunAt);
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(sent);
  });

const again = async (times, path, sent) => {
  while (!isOver) {
    times.push(await exchange(path, sent));
    await wait(20);
  }
};
try {
  await Promise.all([
    again(took.tokens, "/v1/completions", body),
    again(took.ready, "/readyz"),
    again(took.alive, "/livez"),
  ]);
} catch (error) {
  refusals.push(String(error));
}
parentPort.postMessage({ took, refusals });
agent.destroy();
