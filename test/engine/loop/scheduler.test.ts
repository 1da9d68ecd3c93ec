import { describe, expect, it } from "vitest";
import { planStep, type SequenceView } from "../../../src/engine/loop/scheduler.js";

const plain = (id: string, tokens: number, bottomUp: number, prompt = tokens): SequenceView => ({
  id,
  lastChunk: 0,
  prompt,
  promptLogits: "last",
  guesses: 0,
  tokens,
  bottomUp,
  steered: { kind: "plain" },
});
const steered = (
  id: string,
  tokens: number,
  bottomUp: number,
  computed: number,
  draft: "none" | "waiting" = "none",
  prompt = tokens,
): SequenceView => ({
  id,
  lastChunk: 0,
  prompt,
  promptLogits: "last",
  guesses: 0,
  tokens,
  bottomUp,
  steered: { kind: "steered", computed, draft },
});

const sequential = { chunkTokens: 4, schedule: "sequential" } as const;
const draftAhead = { chunkTokens: 4, schedule: "draftAhead" } as const;

describe("planStep", () => {
  it("has nothing to do when every lane has caught up", () => {
    expect(planStep([], sequential, "decode")).toBeNull();
    expect(planStep([plain("a", 5, 5), steered("b", 6, 6, 6)], sequential, "decode")).toBeNull();
  });

  it("asks the lane that is sampled from for all logits of a prompt that is to be reported, and for no other's", () => {
    const outputsOf = (view: SequenceView) =>
      planStep([{ ...view, promptLogits: "all" }], draftAhead, "decode")?.rows.map(({ logits }) => logits);
    expect(outputsOf(plain("a", 6, 0))).toEqual(["all"]);
    expect(outputsOf(plain("a", 6, 5))).toEqual(["all"]);
    expect(outputsOf(plain("a", 7, 6, 6))).toEqual(["last"]);
    expect(outputsOf(steered("a", 6, 0, 0))).toEqual(["none"]);
    expect(outputsOf(steered("a", 6, 4, 0))).toEqual(["all"]);
    expect(outputsOf(steered("a", 6, 6, 5))).toEqual(["all"]);
    expect(outputsOf(steered("a", 7, 7, 6, "waiting", 6))).toEqual(["last", "last"]);
  });

  it("computes a prompt in chunks, each pass in turn, and asks for logits at its end only", () => {
    let view = steered("a", 6, 0, 0);
    const seen: string[] = [];
    for (;;) {
      const plan = planStep([view], sequential, "decode");
      if (plan === null) break;
      const row = plan.rows[0];
      if (row === undefined) throw new Error("an empty plan");
      seen.push(`${row.lane} ${row.from}+${row.count} ${row.logits}`);
      view =
        row.lane === "bottomUp"
          ? { ...view, bottomUp: row.from + row.count }
          : { ...view, steered: { kind: "steered", computed: row.from + row.count, draft: "none" } };
    }
    expect(seen).toEqual(["bottomUp 0+4 none", "steered 0+4 none", "bottomUp 4+2 none", "steered 4+2 last"]);
  });

  it("lets plain and steered sequences share the bottom-up forward and gives plain ones their logits there", () => {
    const plan = planStep([plain("a", 9, 8), steered("b", 3, 2, 2), plain("c", 5, 5)], sequential, "decode");
    expect(plan?.rows).toEqual([
      { sequenceId: "a", lane: "bottomUp", from: 8, count: 1, logits: "last", guesses: false },
      { sequenceId: "b", lane: "bottomUp", from: 2, count: 1, logits: "none", guesses: false },
    ]);
  });

  it("lets rows of both lanes share a forward", () => {
    const plan = planStep([plain("a", 9, 8), steered("b", 3, 3, 2), steered("c", 3, 2, 2)], sequential, "decode");
    expect(plan?.rows.map((row) => `${row.sequenceId} ${row.lane}`)).toEqual(["a bottomUp", "b steered", "c bottomUp"]);
  });

  it("asks for the logits of a draft where one can be used", () => {
    expect(planStep([steered("a", 3, 2, 2)], draftAhead, "decode")?.rows[0]?.logits).toBe("last");
    expect(planStep([steered("a", 3, 2, 2)], sequential, "decode")?.rows[0]?.logits).toBe("none");
    expect(planStep([steered("a", 6, 2, 2)], draftAhead, "decode")?.rows[0]?.logits).toBe("none");
  });

  it("computes guesses with the last known token in one row, of each lane, and only behind the prompt", () => {
    const guessed = { count: 4, guesses: true };
    const rowsOf = (view: SequenceView) => planStep([{ ...view, guesses: 3 }], draftAhead, "decode")?.rows;
    expect(rowsOf(plain("a", 9, 8, 6))).toEqual([
      { sequenceId: "a", lane: "bottomUp", from: 8, logits: "all", ...guessed },
    ]);
    // The first pass of all of them, then the one that decides.
    expect(rowsOf(steered("a", 9, 8, 8, "none", 6))).toEqual([
      { sequenceId: "a", lane: "bottomUp", from: 8, logits: "none", ...guessed },
    ]);
    expect(rowsOf(steered("a", 9, 12, 8, "none", 6))).toEqual([
      { sequenceId: "a", lane: "steered", from: 8, logits: "all", ...guessed },
    ]);
    expect(rowsOf(plain("a", 6, 4, 6))).toMatchObject([{ from: 4, count: 2, guesses: false }]);
    expect(rowsOf(plain("a", 9, 7, 6))).toMatchObject([{ from: 7, count: 1, guesses: false }]);
  });

  it("takes turns between a row of guesses and a prompt", () => {
    const views = [plain("a", 4, 0), { ...plain("b", 9, 8, 6), guesses: 2 }];
    expect(planStep(views, draftAhead, "prefill")?.rows).toMatchObject([{ sequenceId: "b", count: 3 }]);
    expect(planStep(views, draftAhead, "decode")?.rows).toMatchObject([{ sequenceId: "a", count: 4 }]);
  });

  it("computes a draft's bottom-up row beside the steered row that decides about it", () => {
    expect(planStep([steered("a", 9, 9, 8, "waiting")], draftAhead, "decode")?.rows).toEqual([
      { sequenceId: "a", lane: "steered", from: 8, count: 1, logits: "last", guesses: false },
      { sequenceId: "a", lane: "bottomUp", from: 9, count: 1, logits: "last", guesses: false },
    ]);
  });

  it("ends chunks where the prompt alone says, wherever a lane begins", () => {
    const rowOf = (view: SequenceView) => planStep([view], draftAhead, "decode")?.rows[0];
    expect(rowOf(plain("a", 10, 0))).toMatchObject({ from: 0, count: 4 });
    expect(rowOf(plain("a", 10, 3))).toMatchObject({ from: 3, count: 1 });
    expect(rowOf(plain("a", 10, 8))).toMatchObject({ from: 8, count: 2 });
    expect(rowOf(steered("a", 10, 9, 2))).toMatchObject({ lane: "steered", from: 2, count: 2 });
  });

  it("computes what a preempted sequence had generated token by token, two rows a forward", () => {
    const seen: string[] = [];
    let view = steered("a", 7, 0, 0, "none", 4);
    for (;;) {
      const plan = planStep([view], draftAhead, "decode");
      if (plan === null) break;
      seen.push(plan.rows.map(({ lane, from, count, logits }) => `${lane} ${from}+${count} ${logits}`).join(", "));
      let { bottomUp, steered: lane } = view;
      if (lane.kind === "plain") break;
      for (const row of plan.rows) {
        if (row.lane === "bottomUp") bottomUp += row.count;
        else lane = { ...lane, computed: lane.computed + row.count };
      }
      view = { ...view, bottomUp, steered: lane };
    }
    expect(seen).toEqual([
      "bottomUp 0+4 none",
      "steered 0+4 none",
      "bottomUp 4+1 none",
      "steered 4+1 none, bottomUp 5+1 none",
      "steered 5+1 none, bottomUp 6+1 last",
      "steered 6+1 last",
    ]);
  });

  it("lets prompt chunks and running streams take turns", () => {
    const sequences = [plain("stream", 9, 8), plain("prompt", 100, 8)];
    expect(planStep(sequences, sequential, "decode")).toMatchObject({
      phase: "prefill",
      rows: [{ sequenceId: "prompt" }],
    });
    expect(planStep(sequences, sequential, "prefill")).toMatchObject({
      phase: "decode",
      rows: [{ sequenceId: "stream" }],
    });
  });

  it("lets prompts of several callers take turns: longest without a chunk first, then by arrival", () => {
    const prompts = (...lastChunks: readonly number[]) =>
      lastChunks.map((lastChunk, at) => ({ ...plain(`${at}`, 100, 8), lastChunk }));
    const turnOf = (...lastChunks: readonly number[]) =>
      planStep(prompts(...lastChunks), sequential, "decode")?.rows[0]?.sequenceId;
    expect(turnOf(0, 0)).toBe("0");
    expect(turnOf(2, 2, 1)).toBe("2");
    expect(turnOf(3, 0, 0)).toBe("1");
  });

  it("never mixes rows of different length in a forward", () => {
    const plan = planStep([steered("a", 9, 9, 5), steered("b", 3, 3, 2)], sequential, "decode");
    expect(new Set(plan?.rows.map((row) => row.count)).size).toBe(1);
  });
});
