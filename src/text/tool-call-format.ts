import { type Json, type JsonObject, parseJsonTree, writeJson } from "../json-tree.js";
import type { ChatMessage, ToolCall, ToolDefinition } from "./chat-message.js";

/**
 * How calls of functions stand in a model's text: Hermes' and Qwen's markup, one JSON object within a pair of tags for
 * each call.
 *
 *     <tool_call>
 *     {"name": "weather", "arguments": {"city": "Oslo"}}
 *     </tool_call>
 */
export const callMarkup = { open: "<tool_call>", close: "</tool_call>" } as const;

/** How a call of a function is written: `head`, its name, `middle`, its arguments as a JSON object, `end`. */
export interface CallFormat {
  /** What a call is known by where it begins: `head`, or the beginning of it. */
  readonly trigger: string;
  readonly head: string;
  readonly middle: string;
  readonly end: string;
  /** Between calls that follow each other; null: one answer has one call at most. */
  readonly separator: string | null;
}

/** The format of templates that know none, and of those that know this one. */
export const ownFormat: CallFormat = {
  trigger: callMarkup.open,
  head: `${callMarkup.open}\n{"name": "`,
  middle: '", "arguments": ',
  end: `}\n${callMarkup.close}`,
  separator: "\n",
};

/** All of a call in front of its arguments. @param name letters, digits, `_`, `-` and `.` */
export function callOpening(name: string, { head, middle }: CallFormat = ownFormat): string {
  return head + name + middle;
}

/** All of a call behind its arguments, in our own format. */
export const callClosing = ownFormat.end;

/**
 * A conversation with tools for a template that has no place for them: what they are stands in the system text, past
 * calls are a part of what the assistant said, results of what the user did. Pure.
 */
export function toolsAsText(
  messages: readonly ChatMessage[],
  tools: readonly ToolDefinition[],
): readonly ChatMessage[] {
  const told = tools.length === 0 ? messages : withSystemText(messages, toolsText(tools));
  const plain: ChatMessage[] = [];
  let previous: ChatMessage["role"] | null = null;
  for (const message of told) {
    const { role, content, name, toolCalls = [] } = message;
    const last = plain.at(-1);
    if (role !== "tool")
      plain.push({
        role,
        content: [...(content === "" ? [] : [content]), ...toolCalls.map(callText)].join("\n"),
        ...(name === undefined ? {} : { name }),
      });
    // Results of calls that were made together are told together.
    else if (previous === "tool" && last !== undefined) {
      plain.splice(-1, 1, { role: "user", content: `${last.content}\n${resultText(content)}` });
    } else plain.push({ role: "user", content: resultText(content) });
    previous = role;
  }
  return plain;
}

function withSystemText(messages: readonly ChatMessage[], text: string): readonly ChatMessage[] {
  const [first, ...rest] = messages;
  if (first?.role !== "system") return [{ role: "system", content: text }, ...messages];
  return [{ role: "system", content: `${first.content}\n\n${text}` }, ...rest];
}

function toolsText(tools: readonly ToolDefinition[]): string {
  const list = tools.map((tool) => writeJson(toolObject(tool))).join("\n");
  return [
    "These functions can be called, each described by a line of JSON:",
    `<tools>\n${list}\n</tools>`,
    "To call one, write its name and its arguments like this:",
    `${callOpening("NAME")}{}${callClosing}`,
  ].join("\n");
}

/** A tool as OpenAI and the templates of Hugging Face write it. */
export function toolObject({ name, description, parameters }: ToolDefinition): JsonObject {
  const about: readonly (readonly [string, Json])[] = description === null ? [] : [["description", description]];
  const known = new Map<string, Json>([["name", name], ...about, ["parameters", parseJsonTree(parameters)]]);
  return new Map<string, Json>([
    ["type", "function"],
    ["function", known],
  ]);
}

function callText(call: ToolCall): string {
  return `${callOpening(call.name)}${call.arguments === "" ? "{}" : call.arguments}${callClosing}`;
}

function resultText(content: string): string {
  return `<tool_response>\n${content}\n</tool_response>`;
}
