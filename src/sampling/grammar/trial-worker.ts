import { parentPort, workerData } from "node:worker_threads";
import type { GrammarSource } from "./grammar-source.js";
import { isAllowed, isEmpty } from "./token-mask.js";
import type { TrialAnswer, TrialRequest } from "./trial-messages.js";
import type { Vocabulary } from "./vocabulary.js";
import { XgrammarInstance } from "./xgrammar.js";

/**
 * Entry of the trial thread: compiles what strangers send before the engine's own thread does. What hangs or aborts here harms nobody;
 * the other end watches the clock, and starts a new thread after a failure.
 */
if (parentPort === null) throw new Error("trial-worker.js runs in a worker thread; GrammarTrial starts it");
const port = parentPort;
const vocabulary = workerData as Vocabulary;

const walk = { tokens: 48, msPerToken: 40 } as const;

/** Compiles, then goes some way along a text of the grammar: some grammars compile in no time and take long for each token. */
function tryOut(instance: XgrammarInstance, source: GrammarSource): TrialAnswer {
  const compiled = instance.compile(source);
  const matcher = instance.match(compiled);
  const mask = new Int32Array(Math.ceil(instance.vocabSize / 32));
  const startedAt = performance.now();
  let noise = 1;
  for (let token = 0; token < walk.tokens; token++) {
    instance.fillMask(matcher, mask);
    if (isEmpty(mask)) return { kind: "failed", reason: "leads to a place from which no text goes on" };
    const allowed = vocabulary.ends.findIndex((_, id) => isAllowed(mask, id) && !vocabulary.eosIds.includes(id));
    if (allowed === -1) {
      if (token === 0) return { kind: "failed", reason: "allows the empty text only" };
      break;
    }
    // Any allowed token: the first one behind a random place.
    noise = (Math.imul(noise, 1_103_515_245) + 12_345) >>> 0;
    const from = noise % instance.vocabSize;
    const behind = vocabulary.ends.findIndex(
      (_, id) => id >= from && isAllowed(mask, id) && !vocabulary.eosIds.includes(id),
    );
    instance.accept(matcher, behind === -1 ? allowed : behind);
    const spentMs = performance.now() - startedAt;
    if (spentMs > walk.msPerToken * walk.tokens) {
      return {
        kind: "failed",
        reason: "takes too long for each token: parts that repeat within parts that repeat are the usual cause",
      };
    }
  }
  matcher.delete();
  compiled.delete();
  return { kind: "passed" };
}

const instance = await XgrammarInstance.load(vocabulary);
port.on("message", ({ source }: TrialRequest) => {
  let answer: TrialAnswer;
  try {
    answer = tryOut(instance, source);
  } catch (cause) {
    answer = {
      kind: "failed",
      reason: `cannot be compiled: ${cause instanceof Error ? cause.message : String(cause)}`,
    };
  }
  port.postMessage(answer);
});
port.postMessage({ kind: "ready" } satisfies TrialAnswer);
