import { z } from "zod";
import { list } from "../openai/list-fields.js";
import { jsonSchema } from "../openai/output-constraint.js";
import { only } from "../openai/parameter-policy.js";
import { field, flag, optional, refuse, shownAs } from "../openai/request-fields.js";
import { type ToolUse, toolUse } from "../openai/tool-request.js";
import type { CallFormat } from "../text/tool-call-format.js";

const definition = {
  type: optional(z.literal("custom")),
  name: z.string(field("a name")).regex(/^[\w.-]{1,128}$/, "must be 1 to 128 letters, digits, '_', '-' and '.'."),
  description: optional(z.string(field("a string"))),
  input_schema: jsonSchema,
  strict: optional(flag()).describe("A schema that cannot be kept as a whole is refused then."),
  /** Hints on Anthropic's cache, and on how arguments are streamed; arguments come as they are written here. */
  cache_control: z.unknown().optional(),
  eager_input_streaming: z.unknown().optional(),
  input_examples: only([[]], "'input_examples' is not supported: write them into the description."),
  defer_loading: only([false], "Tools are not searched for here: 'defer_loading' must be false."),
  allowed_callers: only([["direct"]], "Tools are called by the model alone: 'allowed_callers' must be ['direct']."),
};

const tool = shownAs(
  z
    .looseObject({ type: z.string(field("'custom'")).nullish() }, field("a tool such as {name, input_schema}"))
    .superRefine(({ type }, context) => {
      if ((type ?? "custom") === "custom") return;
      const message = `Tools of type '${type?.slice(0, 40)}' are not supported: only tools with a name and an 'input_schema' are.`;
      refuse(context, message, ["type"]);
    })
    .pipe(z.object(definition)),
  z.object(definition),
);

const isSingle = { disable_parallel_tool_use: optional(flag()).describe("At most one call.") };

const toolChoice = z.discriminatedUnion(
  "type",
  [
    z.object({ type: z.literal("auto"), ...isSingle }),
    z.object({ type: z.literal("any"), ...isSingle }),
    z.object({ type: z.literal("tool"), name: z.string(field("a tool's name")), ...isSingle }),
    z.object({ type: z.literal("none") }),
  ],
  field("{type: 'auto'}, {type: 'any'}, {type: 'tool', name} or {type: 'none'}"),
);

export const messageToolFields = {
  tools: optional(list(tool, { expected: "an array of tools", item: "tool", max: 128 })),
  tool_choice: optional(toolChoice),
};

type ToolFields = z.output<z.ZodObject<typeof messageToolFields>>;

/** @throws ToastError `invalid_request` for a choice that the tools do not offer. */
export function messageToolUse({ tools, tool_choice: choice }: ToolFields, format: CallFormat): ToolUse {
  return toolUse(format, {
    tools: (tools ?? []).map(({ name, description, input_schema: parameters, strict }, index) => ({
      name,
      description,
      parameters,
      strict,
      param: `tools[${index}].input_schema`,
    })),
    choice: wordOf(choice),
    isParallel: choice === null || choice.type === "none" || choice.disable_parallel_tool_use !== true,
  });
}

function wordOf(choice: ToolFields["tool_choice"]): Parameters<typeof toolUse>[1]["choice"] {
  if (choice === null) return "auto";
  if (choice.type === "tool") return { name: choice.name };
  return choice.type === "any" ? "required" : choice.type;
}
