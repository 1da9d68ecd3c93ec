import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { EngineClient } from "../../src/engine/thread/engine-client.js";
import { workerUrl } from "../contract/open-test-model.js";
import { startTestServer, type TestServer } from "../contract/start-test-server.js";

/** 24 sentences, and each said again in other words. */
const pairs = JSON.parse(readFileSync(new URL("paraphrases.json", import.meta.url), "utf8")) as [string, string][];
const texts = pairs.flat();

let engine: EngineClient;
let server: TestServer;

beforeAll(async () => {
  const folder = fileURLToPath(new URL("../../models/smollm2-135m-instruct", import.meta.url));
  engine = new EngineClient({ folder, threads: 1, workerUrl });
  await engine.ready();
  server = await startTestServer([engine]);
});
afterAll(async () => {
  await server.shutdown(0);
  await engine.close();
});

async function embed(input: readonly string[], pooling: "mean" | "last"): Promise<number[][]> {
  const answer = await server.post("/v1/embeddings", { input, pooling });
  const { data } = JSON.parse(answer.text) as { data: { embedding: number[] }[] };
  return data.map(({ embedding }) => embedding);
}

/** @returns of how many texts the nearest among the 24 of the other side is the one that means the same. */
function found(vectors: readonly (readonly number[])[]): number {
  const near = (one: readonly number[], other: readonly number[] = []) =>
    one.reduce((sum, value, index) => sum + value * (other[index] ?? 0), 0);
  return vectors.filter((vector, at) => {
    const partner = near(vector, vectors[at ^ 1]);
    return vectors.every((other, place) => place % 2 === at % 2 || (place ^ 1) === at || near(vector, other) < partner);
  }).length;
}

/** Words weighed by how rare they are, of length 1: what needs no model. */
function wordVectors(): number[][] {
  const wordsOf = (text: string): readonly string[] => text.toLowerCase().match(/\w+/g) ?? [];
  const vocabulary = [...new Set(texts.flatMap(wordsOf))];
  const textsWith = (word: string) => texts.filter((text) => wordsOf(text).includes(word)).length;
  const rarity = vocabulary.map((word) => Math.log(texts.length / textsWith(word)));
  return texts.map((text) => {
    const counts = vocabulary.map((word, index) => {
      return wordsOf(text).filter((own: string) => own === word).length * (rarity[index] ?? 0);
    });
    return counts.map((count) => count / Math.hypot(...counts));
  });
}

it("tells by pooled states which of 24 sentences means the same in other words, as docs/api.md says", async () => {
  expect(texts).toHaveLength(48);
  const counts = {
    words: found(wordVectors()),
    mean: found(await embed(texts, "mean")),
    last: found(await embed(texts, "last")),
    inOneWord: found(
      await embed(
        texts.map((text) => `This sentence: "${text}" means in one word: "`),
        "last",
      ),
    ),
  };
  // 9, 39, 33 and 47 on one machine; another rounds otherwise.
  expect(counts.words).toBeLessThan(12);
  expect(Math.abs(counts.mean - 39)).toBeLessThan(4);
  expect(Math.abs(counts.last - 33)).toBeLessThan(4);
  expect(counts.inOneWord).toBeGreaterThan(44);
});
