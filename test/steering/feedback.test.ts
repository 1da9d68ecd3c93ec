import { describe, expect, it } from "vitest";
import type { Adapter } from "../../src/steering/adapter.js";
import { Feedback, type FeedbackMember } from "../../src/steering/feedback.js";

const layers = 2;
const hiddenSize = 3;

/** Top-down values [L,N,1]: the token's first hidden state times the gain, plus what tells the adapters apart. */
function scripted(offset: number) {
  const runs: number[] = [];
  const adapter: Pick<Adapter, "topDown"> = {
    topDown(hiddenStates, gains) {
      const tokens = hiddenStates.length / hiddenSize;
      runs.push(tokens);
      const topDownValues = Float32Array.from(
        { length: layers * tokens },
        (_, at) =>
          offset +
          (hiddenStates[(at % tokens) * hiddenSize] ?? Number.NaN) *
            (gains[(at % tokens) * layers + Math.floor(at / tokens)] ?? Number.NaN),
      );
      const relevance = Float32Array.from({ length: tokens }, (_, n) => (hiddenStates[n * hiddenSize] ?? 0) / 100);
      return Promise.resolve({ relevance, topDownValues });
    },
  };
  return { adapter, runs };
}

function member(
  adapter: FeedbackMember["adapter"],
  states: readonly number[],
  gains: readonly number[],
  explain = false,
) {
  const hiddenStates = Float32Array.from(states.flatMap((state) => [state, 0, 0]));
  return { adapter, hiddenStates, gains: Float32Array.from(gains), explain };
}

describe("Feedback", () => {
  it("runs each adapter once, and says where among its values each member's are", async () => {
    const [one, two] = [scripted(0), scripted(1000)];
    const fedBack = await new Feedback({ layers, hiddenSize }).of([
      member(one.adapter, [1, 2], [1, 10]),
      null,
      member(two.adapter, [5], [2, 0]),
      member(one.adapter, [3], [0, -1]),
    ]);
    expect([one.runs, two.runs]).toEqual([[3], [1]]);
    expect(fedBack.map((of) => of?.topDown && { ...of.topDown, values: [...of.topDown.values] })).toEqual(
      [
        { values: [1, 2, 0, 10, 20, -3], total: 3, from: 0 },
        undefined,
        { values: [1010, 1000], total: 1, from: 0 },
        { values: [1, 2, 0, 10, 20, -3], total: 3, from: 2 },
      ].map((of) => of ?? undefined),
    );
  });

  it("explains the tokens of those who ask, and of nobody else", async () => {
    const { adapter } = scripted(0);
    const [silent, asked] = await new Feedback({ layers, hiddenSize }).of([
      member(adapter, [1], [1, 1]),
      member(adapter, [20, -30], [1, 2], true),
    ]);
    expect(silent?.steering).toEqual([]);
    expect(asked?.steering.map(({ layerGains }) => layerGains)).toEqual([
      [20, 40],
      [30, 60],
    ]);
    expect(asked?.steering[0]?.relevance).toBeCloseTo(0.2);
  });

  it("does not mix up runs of different length", async () => {
    const { adapter } = scripted(0);
    const feedback = new Feedback({ layers, hiddenSize });
    await feedback.ofOne(member(adapter, [1, 2, 3, 4], [1, 1]));
    const { topDown } = await feedback.ofOne(member(adapter, [7], [1, 2]));
    expect([[...topDown.values], topDown.total, topDown.from]).toEqual([[7, 14], 1, 0]);
  });

  it("computes nothing where nobody is steered", async () => {
    expect(await new Feedback({ layers, hiddenSize }).of([null, null])).toEqual([null, null]);
  });
});
