import { describe, expect, it } from "vitest";
import { builtinTemplates } from "../../src/text/builtin-templates.js";
import type { ChatMessage } from "../../src/text/chat-message.js";
import { ChatTemplate } from "../../src/text/chat-template.js";
import { toolsAsText } from "../../src/text/tool-call-format.js";

const tools = [{ name: "weather", description: "Says how warm it is.", parameters: '{"type":"object"}' }];
const conversation: readonly ChatMessage[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "How warm is it?" },
  { role: "assistant", content: "", toolCalls: [{ id: "call_1", name: "weather", arguments: '{"city": "Oslo"}' }] },
  { role: "tool", content: "12", toolCallId: "call_1" },
  { role: "tool", content: "13", toolCallId: "call_2" },
];
const tokens = { bosToken: "<s>", eosToken: "</s>" };

describe("tools as text", () => {
  it("stand in the system text, with calls as a model writes them and results as the user's", () => {
    const [system, user, assistant, results, ...rest] = toolsAsText(conversation, tools);
    expect(system?.content).toMatch(/^Be brief\.\n\n.*<tools>\n\{"type":"function","function":\{"name":"weather"/s);
    expect(user).toEqual({ role: "user", content: "How warm is it?" });
    expect(assistant?.content).toBe('<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>');
    expect(results).toEqual({
      role: "user",
      content: "<tool_response>\n12\n</tool_response>\n<tool_response>\n13\n</tool_response>",
    });
    expect(rest).toEqual([]);
  });

  it("leave a conversation without any as it is", () => {
    const plain = conversation.slice(0, 2);
    expect(toolsAsText(plain, [])).toEqual(plain);
  });

  it("are told through templates that have no place for tools", () => {
    const text = new ChatTemplate(builtinTemplates.alpaca, tokens).render(conversation, {
      addGenerationPrompt: true,
      tools,
    });
    expect(text).toContain('"description":"Says how warm it is."');
    expect(text).toContain("<tool_response>\n12");
  });

  it("go to a template that knows them, arguments as an object", () => {
    const source = `{%- if tools is not none -%}{{ tools | tojson }}{%- endif -%}{%- for m in messages -%}[{{ m.role }}]{%- for c in m.tool_calls or [] -%}<tool_call>{{ c.function.arguments.city }}{%- endfor -%}{%- endfor -%}`;
    const text = new ChatTemplate(source, tokens).render(conversation, { addGenerationPrompt: true, tools });
    expect(text).toContain('"name": "weather"');
    expect(text).toMatch(/\[system\]\[user\]\[assistant\]<tool_call>Oslo\[tool\]\[tool\]$/);
  });
});
