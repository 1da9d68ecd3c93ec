import type { StreamEvent } from "../wire/answer.js";
import { brokenOff, envelopeSentence } from "../wire/problem.js";
import { field, fields, number, text } from "../wire/read.js";

export type Side = "left" | "right";

/**
 * A frame of POST /v1/compare as events of the two answers, so that a remote contestant's answer grows as a served
 * one's does.
 */
export function compareEvents(frame: unknown): readonly { readonly side: Side; readonly event: StreamEvent }[] {
  const { kind, side, text: content, answer, error } = fields(frame);
  if (side !== "left" && side !== "right") {
    const sentence = envelopeSentence(frame);
    if (sentence === null) return [];
    const event: StreamEvent = { kind: "failed", problem: { kind: "refused", sentence } };
    return [
      { side: "left", event },
      { side: "right", event },
    ];
  }
  switch (kind) {
    case "text":
      return [{ side, event: { kind: "chunk", chunk: { choices: [{ delta: { content } }] } } }];
    case "end": {
      const ended = fields(answer);
      const chunk = {
        choices: [{ finish_reason: text(field(ended, "finish_reason")) ?? "stop" }],
        usage: {
          completion_tokens: number(field(ended, "completion_tokens")),
          prompt_tokens: number(field(ended, "prompt_tokens")),
        },
      };
      return [
        { side, event: { kind: "chunk", chunk } },
        { side, event: { kind: "done" } },
      ];
    }
    case "error": {
      const sentence = envelopeSentence({ error });
      return [
        {
          side,
          event: { kind: "failed", problem: sentence === null ? brokenOff : { kind: "refused", sentence } },
        },
      ];
    }
    default:
      return [];
  }
}
