import { describe, expect, it } from "vitest";
import { planStep, type SequenceView } from "../../src/engine/scheduler.js";

const plain = (id: string, tokens: number, bottomUp: number): SequenceView => ({
  id,
  tokens,
  bottomUp,
  steered: { kind: "plain" },
});
const steered = (id: string, tokens: number, bottomUp: number, computed: number): SequenceView => ({
  id,
  tokens,
  bottomUp,
  steered: { kind: "steered", computed },
});

describe("planStep", () => {
  it("has nothing to do when every lane has caught up", () => {
    expect(planStep([], 4, "decode")).toBeNull();
    expect(planStep([plain("a", 5, 5), steered("b", 6, 6, 6)], 4, "decode")).toBeNull();
  });

  it("computes a prompt in chunks, each pass in turn, and asks for logits at its end only", () => {
    let view = steered("a", 6, 0, 0);
    const seen: string[] = [];
    for (;;) {
      const plan = planStep([view], 4, "decode");
      if (plan === null) break;
      const row = plan.rows[0];
      if (row === undefined) throw new Error("an empty plan");
      seen.push(`${row.lane} ${row.from}+${row.count} ${row.output}`);
      view =
        row.lane === "bottomUp"
          ? { ...view, bottomUp: row.from + row.count }
          : { ...view, steered: { kind: "steered", computed: row.from + row.count } };
    }
    expect(seen).toEqual([
      "bottomUp 0+4 hiddenStates",
      "steered 0+4 nothing",
      "bottomUp 4+2 hiddenStates",
      "steered 4+2 logits",
    ]);
  });

  it("lets plain and steered sequences share the bottom-up forward and gives plain ones their logits there", () => {
    const plan = planStep([plain("a", 9, 8), steered("b", 3, 2, 2), plain("c", 5, 5)], 4, "decode");
    expect(plan?.rows).toEqual([
      { sequenceId: "a", lane: "bottomUp", from: 8, count: 1, output: "logits" },
      { sequenceId: "b", lane: "bottomUp", from: 2, count: 1, output: "hiddenStates" },
    ]);
  });

  it("finishes passes that have begun before it starts new ones", () => {
    const plan = planStep([plain("a", 9, 8), steered("b", 3, 3, 2)], 4, "decode");
    expect(plan?.rows.map((row) => `${row.sequenceId} ${row.lane}`)).toEqual(["b steered"]);
  });

  it("lets prompt chunks and running streams take turns", () => {
    const sequences = [plain("stream", 9, 8), plain("prompt", 100, 8)];
    expect(planStep(sequences, 4, "decode")).toMatchObject({ phase: "prefill", rows: [{ sequenceId: "prompt" }] });
    expect(planStep(sequences, 4, "prefill")).toMatchObject({ phase: "decode", rows: [{ sequenceId: "stream" }] });
  });

  it("never mixes rows of different length in a forward", () => {
    const plan = planStep([steered("a", 9, 9, 5), steered("b", 3, 3, 2)], 4, "decode");
    expect(new Set(plan?.rows.map((row) => row.count)).size).toBe(1);
  });
});
