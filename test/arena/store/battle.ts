import type { Battle, BattleRecord, BattleSide } from "../../../src/arena/battle-record.js";

export function side(contestant: string, text: string | null = `I am ${contestant}.`): BattleSide {
  return {
    contestant,
    label: contestant,
    kind: "served",
    model: contestant,
    adapter: null,
    steering: null,
    system: null,
    vectorHashes: null,
    systemFingerprint: "fp_1",
    weightsHash: "w",
    adapterHash: null,
    template: null,
    text,
    promptTokens: 3,
    completionTokens: 4,
    firstTokenMs: 1.5,
    totalMs: 20,
    finishReason: "stop",
  };
}

export function battle(id: string, overrides: Partial<Battle> = {}): Battle {
  return {
    id,
    source: "arena",
    createdAt: new Date("2026-01-31T12:00:00.123Z"),
    category: null,
    messages: [{ role: "user", content: "Who are you?" }],
    parameters: { temperature: 0.7, topP: 1, maxTokens: 64 },
    seed: 7,
    left: side("a"),
    right: side("b"),
    turns: [],
    ...overrides,
  };
}

export const humanVote = {
  winner: "left",
  judge: "human",
  votedAt: new Date("2026-01-31T12:01:00Z"),
  details: null,
} as const;

export function record(id: string, overrides: Partial<BattleRecord> = {}): BattleRecord {
  return { ...battle(id), vote: humanVote, ...overrides };
}
