import { afterEach, describe, expect, test, vi } from "vitest";
import { builtinTemplates } from "../../src/text/builtin-templates.js";
import type { ChatMessage } from "../../src/text/chat-message.js";
import { ChatTemplate } from "../../src/text/chat-template.js";

const tokens = { bosToken: "<s>", eosToken: "</s>" };
const user = (content: string): ChatMessage => ({ role: "user", content });
const assistant = (content: string): ChatMessage => ({ role: "assistant", content });
const system = (content: string): ChatMessage => ({ role: "system", content });

function render(source: string, messages: ChatMessage[], addGenerationPrompt = true): string {
  return new ChatTemplate(source, tokens).render(messages, { addGenerationPrompt });
}

function refusal(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("the built-in alpaca template", () => {
  const { alpaca } = builtinTemplates;
  const preamble =
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.";
  const preambleWithInput =
    "Below is an instruction that describes a task, paired with an input that provides further context. " +
    "Write a response that appropriately completes the request.";

  test("renders one user message as in training", () => {
    expect(render(alpaca, [user("Name a colour.")])).toBe(
      `<s>${preamble}\n\n### Instruction:\nName a colour.\n\n### Response:\n`,
    );
  });

  test("with the answer is the whole training text", () => {
    expect(render(alpaca, [user("Name a colour."), assistant("Red.")], false)).toBe(
      `<s>${preamble}\n\n### Instruction:\nName a colour.\n\n### Response:\nRed.</s>`,
    );
  });

  test("renders a message with an input block as in training", () => {
    expect(render(alpaca, [user("Translate.\n\n### Input:\nchat")])).toBe(
      `<s>${preambleWithInput}\n\n### Instruction:\nTranslate.\n\n### Input:\nchat\n\n### Response:\n`,
    );
  });

  test("puts earlier turns behind one preamble, EOS after each response", () => {
    expect(render(alpaca, [user("A"), assistant("B"), user("C")])).toBe(
      `<s>${preamble}\n\n### Instruction:\nA\n\n### Response:\nB</s>\n\n### Instruction:\nC\n\n### Response:\n`,
    );
  });

  test("puts system text in front", () => {
    expect(render(alpaca, [system("Be brief."), system("Rhyme."), user("A")])).toBe(
      `<s>Be brief.\n\nRhyme.\n\n${preamble}\n\n### Instruction:\nA\n\n### Response:\n`,
    );
  });

  test("takes system text alone as the instruction", () => {
    expect(render(alpaca, [system("Write a poem.")])).toBe(
      `<s>${preamble}\n\n### Instruction:\nWrite a poem.\n\n### Response:\n`,
    );
  });

  test("keeps content as it is, braces, quotes and line breaks included", () => {
    const content = " {{ bos_token }} {% if x %} 'a' \"b\" \\n\n\n\tend ";
    expect(render(alpaca, [user(content)])).toBe(`<s>${preamble}\n\n### Instruction:\n${content}\n\n### Response:\n`);
  });
});

describe("the built-in vicuna template", () => {
  const { vicuna } = builtinTemplates;
  const opening =
    "A chat between a curious user and an artificial intelligence assistant. " +
    "The assistant gives helpful, detailed, and polite answers to the user's questions.";

  test("renders turns as in v1.1", () => {
    expect(render(vicuna, [user("Hi")])).toBe(`<s>${opening} USER: Hi ASSISTANT:`);
    expect(render(vicuna, [user("Hi"), assistant("Hello!"), user("Bye")])).toBe(
      `<s>${opening} USER: Hi ASSISTANT: Hello!</s>USER: Bye ASSISTANT:`,
    );
    expect(render(vicuna, [user("Hi"), assistant("Hello!")], false)).toBe(
      `<s>${opening} USER: Hi ASSISTANT: Hello!</s>`,
    );
  });

  test("lets system text take the opening's place", () => {
    expect(render(vicuna, [system("Be brief."), user("Hi")])).toBe("<s>Be brief. USER: Hi ASSISTANT:");
  });
});

describe("a chat template", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test("trims blocks as Hugging Face does", () => {
    const source = [
      "{%- if messages[0].role == 'system' %}",
      "S:{{ messages[0].content }}",
      "{% endif %}",
      "{% for message in messages %}",
      "    {% if message['role'] == 'user' %}",
      "[INST] {{ message.content | trim }} [/INST]",
      "    {%- endif %}",
      "{% endfor %}",
      "",
    ].join("\n");
    expect(render(source, [system("x"), user("  hello ")])).toBe("S:x\n[INST] hello [/INST]");
  });

  test("keeps a line break and spaces that the source begins with", () => {
    expect(render("\n\n  x", [])).toBe("\n\n  x");
    expect(render("  {% if true %}x{% endif %}", [])).toBe("x");
    expect(render("  {{ 'x' }}\n", [])).toBe("  x");
  });

  test("renders ChatML with its tokens and generation prompt", () => {
    const source =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}" +
      "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    expect(render(source, [user("Hi")])).toBe("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    expect(render(source, [user("Hi")], false)).toBe("<|im_start|>user\nHi<|im_end|>\n");
  });

  test("has no tools: they are none, not undefined", () => {
    expect(render("{% if tools is not none %}tools{% else %}plain{% endif %}", [])).toBe("plain");
  });

  test("gives the date in English", () => {
    vi.useFakeTimers();
    vi.setSystemTime(new Date(2024, 6, 5, 15, 4, 9));
    expect(render("{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%A, %B %-d, %I:%M %p %%') }}", [])).toBe(
      "05 Jul 2024|Friday, July 5, 03:04 PM %",
    );
  });

  test("passes on its own sentence when it refuses the messages", () => {
    const source = "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}";
    expect(refusal(() => render(source, [user("a")]))).toMatchObject({
      code: "chat_template_failed",
      message: "Conversation roles must alternate user/assistant/user/assistant/...",
      field: "prompt.messages",
    });
  });

  test("that cannot be parsed, or fails, is an error with a sentence", () => {
    expect(refusal(() => new ChatTemplate("{% if %}", tokens))).toMatchObject({ code: "chat_template_failed" });
    expect(refusal(() => render("{{ messages | nofilter }}", [user("a")]))).toMatchObject({
      code: "chat_template_failed",
      message: expect.stringContaining("nofilter"),
    });
  });
});

describe("messages reach the template as its makers thought of them:", () => {
  test("with the names of who speaks", () => {
    const source =
      "{% for m in messages %}{{ m.role }}{% if m.name %}({{ m.name }}){% endif %}: {{ m.content }}\n{% endfor %}";
    const messages: ChatMessage[] = [{ ...user("hi"), name: "ann" }, { ...user("yo"), name: "bo" }, user("?")];
    expect(render(source, messages)).toBe("user(ann): hi\nuser(bo): yo\nuser: ?\n");
  });

  test("as typed parts where it reads no other", () => {
    const source = "{% for m in messages %}{% for part in m.content %}[{{ part.text }}]{% endfor %}{% endfor %}";
    expect(render(source, [user("hi")])).toBe("[hi]");
  });

  test("as text where it reads both", () => {
    const source =
      "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}[{{ m.content[0].text }}]{% endif %}{% endfor %}";
    expect(render(source, [user("hi")])).toBe("hi");
  });

  test("without the line ends of Windows", () => {
    const source = "{% for m in messages %}\r\n{{ m.role }}:\r\n{{ m.content }}\r\n{% endfor %}\r\n";
    expect(render(source, [user("Hi")], false)).toBe("user:\nHi\n");
  });

  test("with the numbers of calls and schemas as they were written, as Python reads them", () => {
    const source =
      "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}" +
      "<call>{{ c.function.name }}({{ c.function.arguments | tojson }})</call>{% endfor %}{% endfor %}";
    const written = '{"id":12345678901234567890,"share":3.0,"sum":1E5,"tiny":1e-7,"10":1,"2":-0}';
    const call: ChatMessage = { ...assistant(""), toolCalls: [{ id: "a", name: "f", arguments: written }] };
    const tool = { name: "f", description: null, parameters: '{"const":12345678901234567891,"minimum":2.0}' };
    const template = new ChatTemplate(source, tokens);
    expect(template.render([call], { addGenerationPrompt: false, tools: [tool] })).toContain(
      // json.dumps(json.loads(…)) of Python 3.11
      '{"id": 12345678901234567890, "share": 3.0, "sum": 100000.0, "tiny": 1e-07, "10": 1, "2": 0}',
    );
    const plain = new ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}", tokens);
    expect(plain.render([call], { addGenerationPrompt: false, tools: [tool] })).toContain(
      '"parameters":{"const":12345678901234567891,"minimum":2.0}}}',
    );
  });

  test("with what an answer began with", () => {
    const source = "{% for m in messages %}<{{ m.role }}>{{ m.content.lstrip('\\n') }}{% endfor %}";
    expect(render(source, [user("code?"), assistant("    indented\n  more")], false)).toBe(
      "<user>code?<assistant>    indented\n  more",
    );
  });
});
