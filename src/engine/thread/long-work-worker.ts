import { parentPort, workerData } from "node:worker_threads";
import { ToastError } from "../../errors.js";
import { constraintRules } from "../../grammar/constraint-rules.js";
import { ChatTemplate } from "../../text/chat-template.js";
import { Tokenizer } from "../../text/tokenizer.js";
import type { LongReply, LongTask, LongWorkData } from "./long-work.js";

/** Entry of the thread for what may take long: one task after the other, in the order in which they come. */
if (parentPort === null) throw new Error("long-work-worker.js runs in a worker thread; LongWork starts it");
const port = parentPort;
const { tokenizerFile } = workerData as LongWorkData;

/** Read for the first text. */
let tokenizer: Promise<Tokenizer> | null = null;
/** The last one that was needed. */
let template: { readonly source: string; readonly template: ChatTemplate } | null = null;

const begun: LongReply = { kind: "begun" };

async function answerTo(task: LongTask): Promise<LongReply & { readonly kind: "done" }> {
  switch (task.kind) {
    case "tokenize": {
      tokenizer ??= Tokenizer.fromFile(tokenizerFile);
      const loaded = await tokenizer;
      port.postMessage(begun);
      return { kind: "done", answer: Int32Array.from(loaded.encode(task.text, task)) };
    }
    case "detokenize": {
      tokenizer ??= Tokenizer.fromFile(tokenizerFile);
      const loaded = await tokenizer;
      port.postMessage(begun);
      return { kind: "done", answer: loaded.decode([...task.ids], task) };
    }
    case "render": {
      port.postMessage(begun);
      const { source, tokens, messages, rendering } = task;
      if (template?.source !== source) template = { source, template: new ChatTemplate(source, tokens) };
      return { kind: "done", answer: template.template.render(messages, rendering) };
    }
    case "readGrammar":
      port.postMessage(begun);
      return { kind: "done", answer: constraintRules(task.constraint) };
  }
}

port.on("message", async (task: LongTask) => {
  let reply: LongReply;
  try {
    reply = await answerTo(task);
    port.postMessage(reply);
  } catch (cause) {
    // Deeper than a message may be.
    const error = cause instanceof RangeError ? tooDeep(task, cause) : ToastError.from(cause);
    port.postMessage({ kind: "failed", error: error.toData() } satisfies LongReply);
  }
});

function tooDeep(task: LongTask, cause: RangeError): ToastError {
  if (task.kind !== "readGrammar") return ToastError.from(cause);
  const message = "The grammar of the output is too long, or nested too deep, to be followed. Ask for less at once.";
  return new ToastError("invalid_request", message, { param: task.constraint.param, cause });
}
