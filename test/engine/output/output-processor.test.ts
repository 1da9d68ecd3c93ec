import { describe, expect, it } from "vitest";
import { OutputProcessor } from "../../../src/engine/output/output-processor.js";
import type { TokenFacts } from "../../../src/engine/output/token-facts.js";
import type { TokenReport } from "../../../src/engine/token-report.js";
import type { Tokenizer } from "../../../src/text/tokenizer.js";
import { byteLevelStyle, llamaStyle, tokenizerOf } from "../../text/small-tokenizers.js";
import { TestRandom } from "../../text/test-random.js";

interface Asked {
  readonly textContext: readonly number[];
  readonly stopStrings: readonly string[];
  readonly minTokens: number;
  readonly maxTokens: number;
}

const ordinary: Asked = { textContext: [], stopStrings: [], minTokens: 0, maxTokens: 1000 };
/** Tells the tokens apart. */
const factsOf = (index: number): TokenFacts => ({
  logprob: -index,
  top: [],
  steering: null,
  vectors: [],
  draft: "none",
});

/** Pushes ids until the text ends. */
function run(tokenizer: Tokenizer, asked: Partial<Asked>, ids: readonly number[], endIds: readonly number[] = []) {
  const output = new OutputProcessor(tokenizer, { ...ordinary, ...asked }, new Set(endIds));
  const deltas: { text: string; tokens: number; reports: readonly TokenReport[] }[] = [];
  for (const [index, id] of ids.entries()) {
    const { text, tokens, reports, finished } = output.push(id, factsOf(index));
    if (text !== "" || reports.length > 0) deltas.push({ text, tokens, reports });
    if (finished !== null) return { deltas, finished, pushed: index + 1 };
  }
  return { deltas, finished: null, pushed: ids.length };
}

const textOf = (deltas: readonly { text: string }[]) => deltas.map(({ text }) => text).join("");
const reportsOf = (deltas: readonly { reports: readonly TokenReport[] }[]) => deltas.flatMap(({ reports }) => reports);
const bytesOf = (reports: readonly TokenReport[]) => reports.flatMap(({ bytes }) => [...bytes]);

function decoded(bytes: readonly number[], options: { stream?: boolean } = {}): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes), options);
}

const bytesIn = (text: string) => [...new TextEncoder().encode(text)];

describe.each([
  ["LLaMA-style", llamaStyle, (byte: number) => 3 + byte, 2],
  ["byte-level", byteLevelStyle, (byte: number) => byte, 259],
])("output with a %s tokenizer", (_, style, byteToken, specialId) => {
  const spell = (text: string) => bytesIn(text).map(byteToken);

  it("reports tokens whose bytes are the text, in order and with their text, wherever it ends", async () => {
    const tokenizer = await tokenizerOf(style);
    const random = new TestRandom(5);
    const words = ["a", "b", "é", "😀", "ab", "\ufffd", "日", " "];
    let cut = 0;
    for (let round = 0; round < 3000; round += 1) {
      const word = () => words[random.below(words.length)] ?? "";
      const ids: number[] = [];
      while (ids.length < 16) {
        const kind = random.below(10);
        // Mostly characters byte by byte; learned tokens, stray bytes, special tokens and ids that are none.
        if (kind < 6) ids.push(...spell(word()));
        else if (kind < 8) ids.push(random.below(tokenizer.vocabSize + 2));
        else if (kind === 8) ids.push(specialId);
        else ids.push(byteToken(random.below(256)));
      }
      // In the first half the answer goes on from a prompt, which may end within a character.
      const textContext = round % 2 === 0 ? spell("x😀").slice(0, 2 + random.below(4)) : [];
      const asked = {
        textContext,
        stopStrings: Array.from({ length: random.below(3) }, () => word() + (random.below(2) === 0 ? word() : "")),
        minTokens: random.below(4),
        maxTokens: 4 + random.below(12),
      };
      const endIds = random.below(2) === 0 ? [specialId] : [];
      const { deltas, finished, pushed } = run(tokenizer, asked, ids, endIds);
      expect(finished).not.toBeNull();
      const reports = reportsOf(deltas);
      // What the prompt begins and the answer finishes is a part of its text.
      const lead = textContext.flatMap((id) => [...(tokenizer.tokenBytes(id, "later") ?? [])]);
      const start = decoded(lead, { stream: true });
      if (textOf(deltas) === "") expect(bytesOf(reports)).toEqual([]);
      else expect(decoded([...lead, ...bytesOf(reports)])).toBe(start + textOf(deltas));
      // A beginning of the tokens, without a hole, and none that ends the text.
      expect(reports.map(({ logprob }) => logprob)).toEqual(reports.map((_, index) => -index));
      expect(reports.map(({ id }) => id)).toEqual(ids.slice(0, reports.length));
      const endsText = endIds.includes(ids[pushed - 1] ?? -1) ? 1 : 0;
      expect(reports.length).toBeLessThanOrEqual(pushed - endsText);
      if (reports.length < pushed - endsText) cut += 1;
      // Never ahead of the text.
      let told: number[] = [...lead];
      let text = start;
      for (const delta of deltas) {
        told = [...told, ...bytesOf(delta.reports)];
        text += delta.text;
        expect(text.startsWith(decoded(told, { stream: true }))).toBe(true);
      }
      expect(deltas.reduce((sum, { tokens }) => sum + tokens, 0)).toBeLessThanOrEqual(pushed);
    }
    expect(cut).toBeGreaterThan(200);
  });

  it("waits with a token's report for the character and the stop string that it may begin", async () => {
    const tokenizer = await tokenizerOf(style);
    const { deltas } = run(tokenizer, { stopStrings: ["b!"], maxTokens: 8 }, spell("aéb?b!"));
    expect(deltas.map(({ text, reports }) => [text, bytesOf(reports)])).toEqual([
      ["a", bytesIn("a")],
      ["é", bytesIn("é")],
      ["b?", bytesIn("b?")],
    ]);
  });

  it("gives a token that a stop string cuts in two the bytes in front of the cut, and drops those behind it", async () => {
    const tokenizer = await tokenizerOf(style);
    // "ll" is one token in both vocabularies.
    const [pair] = tokenizer.encode("ll", { addSpecialTokens: false }).slice(-1);
    const { deltas, finished } = run(tokenizer, { stopStrings: ["l!"] }, [...spell("a"), pair ?? -1, ...spell("!x")]);
    expect(finished).toBe("stop");
    expect(textOf(deltas)).toBe("al");
    expect(reportsOf(deltas).map(({ id, bytes }) => [id, [...bytes]])).toEqual([
      [byteToken(97), bytesIn("a")],
      [pair, bytesIn("l")],
    ]);
  });

  it("tells of special tokens within the text, and not of the one that ends it", async () => {
    const tokenizer = await tokenizerOf(style);
    const ids = [specialId, ...spell("a"), specialId, ...spell("b"), specialId];
    const ended = run(tokenizer, {}, [...spell("a"), specialId], [specialId]);
    expect(reportsOf(ended.deltas).map(({ id }) => id)).toEqual(spell("a"));
    expect(ended.finished).toBe("stop");
    const { deltas } = run(tokenizer, { maxTokens: 5 }, ids);
    expect(textOf(deltas)).toBe("ab");
    expect(reportsOf(deltas).map(({ id }) => id)).toEqual(ids);
    // Without any text there still is a delta for them.
    const silent = run(tokenizer, { maxTokens: 2 }, [specialId, specialId]);
    expect(silent.deltas.map(({ text, reports }) => [text, reports.length])).toEqual([["", 2]]);
  });

  it("lets a stop string end the text behind the least number of tokens only, where it may have begun before", async () => {
    const tokenizer = await tokenizerOf(style);
    const ids = spell("ab.ab.ab.");
    const endOf = (minTokens: number) => textOf(run(tokenizer, { stopStrings: ["ab"], minTokens }, ids).deltas);
    expect(endOf(0)).toBe("");
    expect(endOf(1)).toBe("");
    expect(endOf(2)).toBe("ab.");
    expect(endOf(4)).toBe("ab.");
    expect(endOf(5)).toBe("ab.ab.");
  });

  it("ends with a stop token as with an end of sequence, without its text", async () => {
    const tokenizer = await tokenizerOf(style);
    const { deltas, finished, pushed } = run(tokenizer, {}, spell("a.b"), spell("."));
    expect([textOf(deltas), finished, pushed]).toEqual(["a", "stop", 2]);
  });

  it("makes no reports where none are asked for", async () => {
    const tokenizer = await tokenizerOf(style);
    const output = new OutputProcessor(tokenizer, { ...ordinary, textContext: spell("😀").slice(0, 2) }, new Set());
    const processed = spell("😀b")
      .slice(2)
      .map((id) => output.push(id, null));
    expect(processed.map(({ text }) => text).join("")).toBe("😀b");
    expect(processed.flatMap(({ reports }) => reports)).toEqual([]);
  });
});
