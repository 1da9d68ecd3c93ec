import { z } from "zod";
import type { GenerationRequest } from "../engine/messages.js";
import { ToastError } from "../errors.js";
import type { ToolDefinition } from "../text/chat-message.js";
import { callClosing, callMarkup, callOpening, callSeparator } from "../text/tool-call-format.js";
import { jsonSchema } from "./output-constraint.js";
import { field, optional, refuse } from "./request-fields.js";

type Constraint = NonNullable<GenerationRequest["constraint"]>;

const functionName = z
  .string(field("a name"))
  .regex(/^[\w.-]{1,64}$/, "must be 1 to 64 letters, digits, '_', '-' and '.'.");

const tool = z
  .object(
    { type: z.string(field("'function'")), function: z.unknown().optional() },
    field("a tool such as {type: 'function', function: {…}}"),
  )
  .superRefine(({ type }, context) => {
    if (type !== "function")
      refuse(context, `Tools of type '${type.slice(0, 40)}' are not supported: only functions are.`, ["type"]);
  })
  .pipe(
    z.object({
      type: z.literal("function"),
      function: z.object(
        {
          name: functionName,
          description: optional(z.string(field("a string"))),
          /** Without any: a function that takes nothing. */
          parameters: optional(jsonSchema),
          /** The arguments always keep to the schema, strictly asked for or not. */
          strict: optional(z.boolean(field("a boolean"))),
        },
        field("an object with `name` and `parameters`"),
      ),
    }),
  );

const toolChoice = z.union(
  [
    z.enum(["none", "auto", "required"]),
    z.object({ type: z.literal("function"), function: z.object({ name: z.string() }) }),
  ],
  field("'none', 'auto', 'required' or {type: 'function', function: {name}}"),
);

export const toolFields = {
  tools: optional(z.array(tool, field("an array of tools")).max(128, "takes up to 128 tools.")),
  tool_choice: optional(toolChoice),
  parallel_tool_calls: optional(z.boolean(field("a boolean"))),
};

const schema = z.object(toolFields);

/** What tools mean for one answer. */
export interface ToolUse {
  /** What the model is told of; empty when it may call nothing. */
  readonly tools: readonly ToolDefinition[];
  /** What binds its text; null where it may call nothing. */
  readonly constraint: Constraint | null;
}

/**
 * `auto` leaves the text free until it begins a call; `required` and a named function leave nothing but calls.
 * @throws ToastError `invalid_request` for a choice that the tools do not offer.
 */
export function toolUse(request: z.infer<typeof schema>): ToolUse {
  const choice = request.tool_choice ?? "auto";
  const offered = (request.tools ?? []).map(({ function: { name, description, parameters } }, index) => ({
    name,
    description,
    parameters: parameters ?? '{"type":"object","properties":{},"additionalProperties":false}',
    param: `tools[${index}].function.parameters`,
  }));
  const double = offered.find(({ name }, index) => offered.findIndex((other) => other.name === name) < index);
  if (double !== undefined) {
    throw new ToastError("invalid_request", `Two tools have the name '${double.name}'.`, { param: "tools" });
  }
  if (offered.length === 0) {
    if (choice !== "none" && choice !== "auto") {
      throw new ToastError("invalid_request", "'tool_choice' asks for a call, and there are no 'tools'.", {
        param: "tool_choice",
      });
    }
    return { tools: [], constraint: null };
  }
  if (choice === "none") return { tools: [], constraint: null };
  const wanted = typeof choice === "string" ? null : choice.function.name;
  const callable = wanted === null ? offered : offered.filter(({ name }) => name === wanted);
  if (callable.length === 0) {
    throw new ToastError(
      "invalid_request",
      `'tool_choice' names '${wanted?.slice(0, 64)}', which is not among the 'tools'.`,
      {
        param: "tool_choice",
      },
    );
  }
  const tags = callable.map(({ name, parameters, param }) => ({
    begin: callOpening(name),
    schema: parameters,
    end: callClosing,
    param,
  }));
  // A named function is called once, as OpenAI does it.
  const atMost = request.parallel_tool_calls === false || wanted !== null ? "one" : "any";
  return {
    tools: offered.map(({ name, description, parameters }) => ({ name, description, parameters })),
    constraint:
      choice === "auto"
        ? { kind: "textWithTags", trigger: callMarkup.open, tags, atMost, param: "tools" }
        : { kind: "tags", separator: callSeparator, tags, atMost, param: "tools" },
  };
}
