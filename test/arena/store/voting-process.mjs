// A process for a test to kill: shows 200 battles, takes 200 votes at once, and names each one that was acknowledged on its standard output.
import { writeSync } from "node:fs";
import { openStore } from "../../../dist/arena/store/open-store.js";

const [dataDir, databaseUrl] = process.argv.slice(2);
const store = await openStore({ dataDir, databaseUrl: databaseUrl ?? null });
const side = (contestant) => ({
  contestant,
  label: contestant,
  kind: "served",
  model: contestant,
  adapter: null,
  steering: null,
  systemFingerprint: null,
  weightsHash: null,
  adapterHash: null,
  template: null,
  text: `I am ${contestant}.`,
  promptTokens: 1,
  completionTokens: 1,
  firstTokenMs: 1,
  totalMs: 1,
  finishReason: "stop",
});
const ids = Array.from({ length: 200 }, (_, index) => `b_${index}`);
const vote = async (id) => {
  await store.addVote(id, { winner: "left", judge: "human", votedAt: new Date(), details: null });
  writeSync(1, `${id}\n`);
};
await Promise.all(
  ids.map((id) =>
    store.addBattle(
      {
        id,
        source: "arena",
        createdAt: new Date(),
        category: null,
        messages: [{ role: "user", content: "Who?" }],
        parameters: { temperature: 1, topP: 1, maxTokens: 8 },
        seed: 1,
        left: side("a"),
        right: side("b"),
      },
      "00",
    ),
  ),
);
writeSync(1, "shown\n");
await Promise.all(ids.map(vote));
writeSync(1, "done\n");
// Stays until it is killed.
setInterval(() => {}, 1000);
