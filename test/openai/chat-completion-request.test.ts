import { describe, expect, it } from "vitest";
import { ToastError } from "../../src/errors.js";
import { parseChatCompletionRequest } from "../../src/openai/chat-completion-request.js";

const good = { model: "tiny", messages: [{ role: "user", content: "Hi" }] };

function refusal(body: unknown): { code: string; param: string | null; message: string } {
  try {
    parseChatCompletionRequest(body);
  } catch (error) {
    if (error instanceof ToastError) {
      return error.toData();
    }
    throw error;
  }
  return { code: "accepted", param: null, message: "" };
}

describe("messages", () => {
  it("takes a string or text parts for every role", () => {
    const content = [
      { type: "text", text: "one" },
      { type: "text", text: "two" },
    ];
    const roles = ["system", "developer", "user", "assistant"];
    const { messages } = parseChatCompletionRequest({ ...good, messages: roles.map((role) => ({ role, content })) });
    expect(messages).toEqual(["system", "system", "user", "assistant"].map((role) => ({ role, content: "one\ntwo" })));
  });

  it("takes back an answer as the official client returns it", () => {
    const answer = { role: "assistant", content: "Hi", refusal: null, annotations: [], tool_calls: [], audio: null };
    expect(parseChatCompletionRequest({ ...good, messages: [answer] }).messages).toEqual([
      { role: "assistant", content: "Hi" },
    ]);
  });

  it("reads a plain message as it reads one with a field more", () => {
    for (const role of ["system", "developer", "user", "assistant"]) {
      for (const content of ["", "Hi", "a\ud800b"]) {
        const read = (message: object) => parseChatCompletionRequest({ ...good, messages: [message] }).messages;
        expect(read({ role, content })).toEqual(read({ role, content, name: null }));
      }
    }
  });

  it("replaces half a surrogate pair, which has no bytes", () => {
    const messages = [{ role: "user", content: "a\ud800b" }];
    expect(parseChatCompletionRequest({ ...good, messages }).messages[0]?.content).toBe("a\ufffdb");
  });

  it.each([
    ["no messages", { model: "tiny" }, "invalid_request", "messages"],
    ["empty messages", { ...good, messages: [] }, "invalid_request", "messages"],
    ["messages of another type", { ...good, messages: "Hi" }, "invalid_request", "messages"],
    ["a message of another type", { ...good, messages: ["Hi"] }, "invalid_request", "messages[0]"],
    ["no role", { ...good, messages: [{ content: "Hi" }] }, "invalid_request", "messages[0].role"],
    ["a made-up role", { ...good, messages: [{ role: "bard", content: "Hi" }] }, "invalid_request", "messages[0].role"],
    [
      "a tool's answer to no call",
      { ...good, messages: [{ role: "tool", content: "7" }] },
      "invalid_request",
      "messages[0].tool_call_id",
    ],
    ["no content", { ...good, messages: [{ role: "user" }] }, "invalid_request", "messages[0].content"],
    [
      "null content of a user",
      { ...good, messages: [{ role: "user", content: null }] },
      "invalid_request",
      "messages[0].content",
    ],
    [
      "a number for content",
      { ...good, messages: [{ role: "user", content: 3 }] },
      "invalid_request",
      "messages[0].content",
    ],
    [
      "calls without a function",
      { ...good, messages: [{ role: "assistant", content: null, tool_calls: [{ id: "1" }] }] },
      "invalid_request",
      "messages[0].tool_calls[0].function",
    ],
    [
      "a picture",
      { ...good, messages: [{ role: "user", content: [{ type: "text", text: "?" }, { type: "image_url" }] }] },
      "unsupported_parameter",
      "messages[0].content[1]",
    ],
    [
      "a text part without text",
      { ...good, messages: [{ role: "user", content: [{ type: "text" }] }] },
      "invalid_request",
      "messages[0].content[0].text",
    ],
    [
      "a part without type",
      { ...good, messages: [{ role: "user", content: [{ text: "a" }] }] },
      "invalid_request",
      "messages[0].content[0].type",
    ],
  ])("refuses %s", (_, body, code, param) => {
    expect(refusal(body)).toMatchObject({ code, param });
  });
});

describe("the body", () => {
  it.each([[null], [[]], ["text"], [7]])("must be an object, not %j", (body) => {
    expect(refusal(body)).toMatchObject({
      code: "invalid_request",
      param: null,
      message: "The request body must be a JSON object.",
    });
  });

  it("ignores fields that nobody knows", () => {
    expect(refusal({ ...good, frobnicate: { a: 1 }, __proto__: { x: 1 } }).code).toBe("accepted");
  });

  it("treats null as not given, for every field that may be left out", () => {
    const fields = ["stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k"];
    const more = ["min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed", "stop", "n", "user"];
    const impossible = [
      "metadata",
      "store",
      "tools",
      "tool_choice",
      "functions",
      "response_format",
      "logprobs",
      "audio",
    ];
    const last = ["top_logprobs", "logit_bias", "modalities", "prediction", "steering", "parallel_tool_calls"];
    const nulls = Object.fromEntries([...fields, ...more, ...impossible, ...last].map((name) => [name, null]));
    const { temperature, stop, seed, steering, max_tokens } = parseChatCompletionRequest({ ...good, ...nulls });
    expect({ temperature, stop, seed, steering, max_tokens }).toEqual({
      temperature: null,
      stop: null,
      seed: null,
      steering: null,
      max_tokens: null,
    });
  });

  it("says in a sentence what is missing", () => {
    expect(refusal({ model: good.model })).toMatchObject({
      code: "invalid_request",
      param: "messages",
      message: "'messages' is missing; it must be an array of messages.",
    });
  });
});

describe("parameters out of range", () => {
  it.each([
    ["temperature", -0.1],
    ["temperature", 2.1],
    ["temperature", "hot"],
    ["top_p", 1.1],
    ["top_p", -1],
    ["top_k", -2],
    ["top_k", 1.5],
    ["min_p", 1],
    ["min_p", -0.1],
    ["presence_penalty", 2.5],
    ["frequency_penalty", -2.5],
    ["repetition_penalty", 0],
    ["repetition_penalty", -1],
    ["max_tokens", -2],
    ["max_tokens", 0],
    ["max_tokens", 1.5],
    ["max_tokens", "5"],
    ["max_tokens", Number.POSITIVE_INFINITY],
    ["max_completion_tokens", -5],
    ["seed", 1.5],
    ["seed", "1"],
    ["seed", Number.POSITIVE_INFINITY],
    ["stream", "yes"],
    ["stop", 5],
    ["stop", Array.from({ length: 65 }, (_, at) => `${at}`)],
    ["n", 0],
    ["n", 129],
    ["steering", 0.5],
  ])("%s: %j", (name, value) => {
    const { code, param, message } = refusal({ ...good, [name]: value });
    expect({ code, param }).toEqual({ code: "invalid_request", param: name });
    expect(message).toMatch(/^'\w+' (must|takes) .*\.$/);
  });

  it.each([
    ["an empty stop string", { stop: [""] }, "stop[0]"],
    ["an empty stop string alone", { stop: "" }, "stop[0]"],
    ["a stop that is no string", { stop: ["a", 1] }, "stop[1]"],
    ["options of a stream that is none", { stream_options: { include_usage: true } }, "stream_options"],
    [
      "usage that is no boolean",
      { stream: true, stream_options: { include_usage: 1 } },
      "stream_options.include_usage",
    ],
    ["a strength too high", { steering: { strength: 4.1 } }, "steering.strength"],
    ["a negative strength", { steering: { strength: -1 } }, "steering.strength"],
    ["a strength that is no number", { steering: { strength: "1" } }, "steering.strength"],
    ["an adapter that is no name", { steering: { adapter: 1 } }, "steering.adapter"],
    ["layers in the wrong order", { steering: { layers: [2, 1] } }, "steering.layers"],
    ["one layer", { steering: { layers: [2] } }, "steering.layers"],
    ["three layers", { steering: { layers: [1, 2, 3] } }, "steering.layers"],
    ["half a layer", { steering: { layers: [0.5, 1] } }, "steering.layers[0]"],
    ["a misspelt steering field", { steering: { strenght: 1 } }, "steering.strenght"],
  ])("refuses %s", (_, fields, param) => {
    expect(refusal({ ...good, ...fields })).toMatchObject({ code: "invalid_request", param });
  });
});

describe("what cannot be honoured", () => {
  it.each([
    ["functions", [{ name: "f" }]],
    ["function_call", { name: "f" }],
    ["modalities", ["text", "audio"]],
    ["audio", { voice: "alloy" }],
    ["web_search_options", {}],
    ["echo", true],
    ["best_of", 2],
    ["chat_template", "{{ x }}"],
  ])("refuses %s: %j and names it", (name, value) => {
    expect(refusal({ ...good, [name]: value })).toMatchObject({ code: "unsupported_parameter", param: name });
  });

  it("accepts the forms that ask for nothing", () => {
    const nothing = {
      n: 1,
      store: false,
      tools: [],
      tool_choice: "none",
      response_format: { type: "text" },
      logprobs: false,
      top_logprobs: 0,
      logit_bias: {},
      modalities: ["text"],
      service_tier: "auto",
      parallel_tool_calls: true,
      user: "somebody",
      metadata: { a: "b" },
    };
    expect(refusal({ ...good, ...nothing }).code).toBe("accepted");
  });

  it("survives nesting deeper than the stack", () => {
    const deep: unknown = JSON.parse(`${"[".repeat(200_000)}${"]".repeat(200_000)}`);
    expect(refusal({ ...good, functions: deep, metadata: deep }).code).toBe("unsupported_parameter");
    for (const name of ["tools", "guided_json", "structured_outputs", "response_format"]) {
      expect(refusal({ ...good, [name]: deep }).code, name).toBe("invalid_request");
    }
    expect(refusal({ ...good, guided_json: { items: deep } }).param).toBe("guided_json");
    expect(refusal({ ...good, messages: deep }).code).toBe("invalid_request");
  });
});
