import { type Answer, emptyAnswer, isRunning, reduceAnswer } from "./answer.js";
import { type Access, callStream } from "./call.js";
import { problemFrom } from "./problem.js";

/**
 * Asks POST /v1/chat/completions and hands over the answer each time it has grown. Never throws: however the answer
 * ends is a state of it.
 * @param body the request without `stream`, which is set here.
 * @param stop ends the answer where it is.
 * @returns the ended answer.
 */
export async function askChat(
  access: Access,
  body: object,
  stop: AbortSignal,
  onGrowth: (answer: Answer) => void,
): Promise<Answer> {
  let answer = emptyAnswer(performance.now());
  const grow = (event: Parameters<typeof reduceAnswer>[1]) => {
    answer = reduceAnswer(answer, event, performance.now());
    onGrowth(answer);
  };
  onGrowth(answer);
  try {
    const request = { ...body, stream: true, stream_options: { include_usage: true } };
    for await (const chunk of callStream(access, "/v1/chat/completions", request, stop)) {
      grow({ kind: "chunk", chunk });
      if (!isRunning(answer)) break;
    }
    grow({ kind: "done" });
  } catch (error) {
    grow(stop.aborted ? { kind: "stopped" } : { kind: "failed", problem: problemFrom(error) });
  }
  return answer;
}
