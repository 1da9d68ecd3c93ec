import { z } from "zod";
import { isShallow, maxSchemaDepth } from "../openai/json-body.js";
import { list, mostItems } from "../openai/list-fields.js";
import { field, refuse, shownAs, text } from "../openai/request-fields.js";
import type { ChatMessage, ToolCall } from "../text/chat-message.js";

/** Blocks of text join with a line break, as text parts of chat completions do. */
const separator = "\n";

const roles = ["user", "assistant", "system"] as const;

/** What another model thought: no chat template served here has a place for it. */
const thoughts: ReadonlySet<string> = new Set(["thinking", "redacted_thinking"]);

/** A block of content as it was sent; what kind may stand where is looked at where that is known. */
const anyBlock = z.looseObject({ type: z.string(field("the block's type")) }, field("a block such as {type: 'text'}"));
const blocks = list(anyBlock, { expected: "a string or an array of blocks", item: "block", max: mostItems });

const textBlock = z.object({ text: text() });
const toolUseBlock = z.object({
  id: text("the call's id"),
  name: text("the tool's name"),
  input: z
    .looseObject({}, field("an object"))
    .refine((input) => isShallow(input, maxSchemaDepth), `must be nested ${maxSchemaDepth} deep at most.`),
});
const toolResultBlock = z.object({
  tool_use_id: text("the id of a call"),
  content: z.union([z.string(), blocks], field("a string or an array of blocks")).nullish(),
  is_error: z.boolean(field("a boolean")).nullish(),
});

const shownText = z.object({ type: z.literal("text"), text: z.string() });
const shownTexts = z.union([z.string(), z.array(shownText)]);

const message = z.object(
  {
    role: z.enum(roles, field(`one of ${roles.join(", ")}`)),
    content: z.union([z.string(), blocks], field("a string or an array of blocks")),
  },
  field("an object with `role` and `content`"),
);

type Message = z.output<typeof message>;
type Block = z.output<typeof anyBlock>;
type Path = readonly PropertyKey[];

/** Messages as Anthropic's clients write them, read as the template's. */
export const messages = shownAs(
  list(message, { expected: "an array of messages", item: "message", min: 1, max: mostItems }).transform(
    (sent, context) => {
      const reader = new MessageReader(context);
      for (const [at, one] of sent.entries()) reader.read(one, [at]);
      return reader.messages;
    },
  ),
  z
    .array(
      z.object({
        role: z.enum(roles),
        content: z.union([
          z.string(),
          z.array(
            z.union([
              shownText,
              z.object({ type: z.literal("tool_use"), id: z.string(), name: z.string(), input: z.looseObject({}) }),
              z.object({
                type: z.literal("tool_result"),
                tool_use_id: z.string(),
                content: shownTexts.nullish(),
                is_error: z.boolean().nullish().describe("True: the result is told behind 'Error: '."),
              }),
              z.looseObject({ type: z.enum(["thinking", "redacted_thinking"]) }).describe("Passed over."),
            ]),
          ),
        ]),
      }),
    )
    .min(1),
);

/** The system prompt: a text, or blocks of text. */
export const system = shownAs(
  z
    .union([z.string(), blocks], field("a string or an array of text blocks"))
    .transform((value, context) => textOf(value, [], context))
    .pipe(text()),
  shownTexts,
);

class MessageReader {
  readonly messages: ChatMessage[] = [];
  readonly #context: z.core.$RefinementCtx;
  readonly #callIds = new Set<string>();

  constructor(context: z.core.$RefinementCtx) {
    this.#context = context;
  }

  read({ role, content }: Message, path: Path): void {
    const at = [...path, "content"];
    if (role === "assistant") this.messages.push(this.#answer(content, at));
    else if (role === "system") this.messages.push({ role, content: textOf(content, at, this.#context) });
    else this.#readUser(content, at);
  }

  #answer(content: Message["content"], path: Path): ChatMessage {
    if (typeof content === "string") return { role: "assistant", content: wellFormed(content) };
    const texts: string[] = [];
    const toolCalls: ToolCall[] = [];
    for (const [at, block] of content.entries()) {
      if (thoughts.has(block.type)) continue;
      if (block.type === "tool_use") {
        const call = parsed(toolUseBlock, block, [...path, at], this.#context);
        if (call === null) continue;
        this.#callIds.add(call.id);
        toolCalls.push({ id: call.id, name: call.name, arguments: JSON.stringify(call.input) });
      } else texts.push(readText(block, [...path, at], this.#context));
    }
    const turn = { role: "assistant" as const, content: texts.join(separator) };
    return toolCalls.length === 0 ? turn : { ...turn, toolCalls };
  }

  /** Results and texts in the order in which they stand; a message of nothing is one, too. */
  #readUser(content: Message["content"], path: Path): void {
    if (typeof content === "string") {
      this.messages.push({ role: "user", content: wellFormed(content) });
      return;
    }
    let texts: string[] = [];
    const endText = (): void => {
      if (texts.length > 0) this.messages.push({ role: "user", content: texts.join(separator) });
      texts = [];
    };
    for (const [at, block] of content.entries()) {
      if (block.type === "tool_result") {
        endText();
        this.#readResult(block, [...path, at]);
      } else texts.push(readText(block, [...path, at], this.#context));
    }
    if (content.length === 0) this.messages.push({ role: "user", content: "" });
    endText();
  }

  #readResult(block: Block, path: Path): void {
    const result = parsed(toolResultBlock, block, path, this.#context);
    if (result === null) return;
    if (!this.#callIds.has(result.tool_use_id)) {
      const where = [...path, "tool_use_id"];
      const says = "must be the id of a 'tool_use' in front of it.";
      this.#context.addIssue({ code: "custom", path: where, message: says });
    }
    const said = textOf(result.content ?? "", [...path, "content"], this.#context);
    // Templates have no word for a call that failed.
    const content = result.is_error === true ? `Error: ${said}` : said;
    this.messages.push({ role: "tool", content, toolCallId: result.tool_use_id });
  }
}

function textOf(content: string | readonly Block[], path: Path, context: z.core.$RefinementCtx): string {
  if (typeof content === "string") return wellFormed(content);
  return content.map((block, at) => readText(block, [...path, at], context)).join(separator);
}

function readText(block: Block, path: Path, context: z.core.$RefinementCtx): string {
  if (block.type === "text") return parsed(textBlock, block, path, context)?.text ?? "";
  const type = block.type.slice(0, 40);
  const message =
    block.type === "tool_use" || block.type === "tool_result"
      ? `A block of type '${type}' cannot stand here: calls are the assistant's, their results the user's.`
      : `Content of type '${type}' is not supported: this server reads text only.`;
  refuse(context, message, [...path, "type"]);
  return "";
}

/** @returns null where the block is not of that kind, which is an issue then. */
function parsed<Schema extends z.ZodType>(
  schema: Schema,
  block: Block,
  path: Path,
  context: z.core.$RefinementCtx,
): z.output<Schema> | null {
  const result = schema.safeParse(block);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = [...path, ...(issue?.path ?? [])];
  context.addIssue({ code: "custom", path: where, message: issue?.message ?? "is not valid." });
  return null;
}

function wellFormed(value: string): string {
  return text().parse(value);
}
