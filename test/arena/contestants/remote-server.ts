import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface RemoteCall {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: {
    readonly model: string;
    readonly messages?: readonly { readonly role: string; readonly content: string }[];
    readonly prompt?: string;
    readonly stop?: readonly string[];
    readonly seed: number;
    readonly temperature: number;
  };
}

/** Another server with OpenAI's wire, which says what a test makes it say. */
export interface RemoteServer {
  /** Base URL, with /v1. */
  readonly url: string;
  readonly calls: RemoteCall[];
  answer: (call: RemoteCall, response: ServerResponse) => void | Promise<void>;
  close(): Promise<void>;
}

export async function startRemoteServer(answer: RemoteServer["answer"]): Promise<RemoteServer> {
  const calls: RemoteCall[] = [];
  const http = createServer((request, response) => {
    void (async () => {
      let text = "";
      for await (const bytes of request) text += String(bytes);
      const call = { path: request.url ?? "", headers: request.headers, body: JSON.parse(text || "{}") } as RemoteCall;
      calls.push(call);
      await remote.answer(call, response);
    })();
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const remote: RemoteServer = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/v1`,
    calls,
    answer,
    close: () =>
      new Promise((resolve) => {
        http.closeAllConnections();
        http.close(() => resolve());
      }),
  };
  return remote;
}

/** A whole chat or plain completion in so many pieces. */
export function say(response: ServerResponse, pieces: readonly string[], path = "/v1/chat/completions"): void {
  const chat = path.endsWith("chat/completions");
  response.writeHead(200, { "content-type": "text/event-stream" });
  const frame = (value: object) => response.write(`data: ${JSON.stringify(value)}\n\n`);
  for (const text of pieces) {
    frame({ choices: [chat ? { delta: { content: text }, finish_reason: null } : { text, finish_reason: null }] });
  }
  frame({
    system_fingerprint: "fp_remote",
    choices: [chat ? { delta: {}, finish_reason: "stop" } : { text: "", finish_reason: "stop" }],
  });
  frame({ choices: [], usage: { prompt_tokens: 5, completion_tokens: pieces.length } });
  response.end("data: [DONE]\n\n");
}
