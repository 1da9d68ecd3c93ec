import { z } from "zod";
import type { GenerationRequest } from "../engine/generation-request.js";
import { ToastError } from "../errors.js";
import type { ToolDefinition } from "../text/chat-message.js";
import { type CallFormat, callOpening, ownFormat } from "../text/tool-call-format.js";
import { list } from "./list-fields.js";
import { jsonSchema } from "./output-constraint.js";
import { field, optional, refuse, shownAs } from "./request-fields.js";

type Constraint = NonNullable<GenerationRequest["constraint"]>;

const functionName = z
  .string(field("a name"))
  .regex(/^[\w.-]{1,64}$/, "must be 1 to 64 letters, digits, '_', '-' and '.'.");

const definition = {
  name: functionName,
  description: optional(z.string(field("a string"))),
  /** Without any: a function that takes nothing. */
  parameters: optional(jsonSchema),
  /** The arguments keep to the schema in any case; strictly, a schema that cannot be kept as a whole is refused. */
  strict: optional(z.boolean(field("a boolean"))),
};

function refuseOthers({ type }: { readonly type: string }, context: z.core.$RefinementCtx): void {
  if (type !== "function")
    refuse(context, `Tools of type '${type.slice(0, 40)}' are not supported: only functions are.`, ["type"]);
}

const tool = z
  .object(
    { type: z.string(field("'function'")), function: z.unknown().optional() },
    field("a tool such as {type: 'function', function: {…}}"),
  )
  .superRefine(refuseOthers)
  .pipe(
    z.object({
      type: z.literal("function"),
      function: z.object(definition, field("an object with `name` and `parameters`")),
    }),
  );

const flatTool = shownAs(
  z
    .looseObject({ type: z.string(field("'function'")) }, field("a tool such as {type: 'function', name, parameters}"))
    .superRefine(refuseOthers)
    .pipe(z.object({ type: z.literal("function"), ...definition })),
  z.object({ type: z.literal("function"), ...definition }),
);

const words = z.enum(["none", "auto", "required"]);
const mode = z.enum(["auto", "required"]);
const namedFunction = z.object({ type: z.literal("function"), function: z.object({ name: z.string() }) });
const flatNamedFunction = z.object({ type: z.literal("function"), name: z.string() });
const toolChoice = z.union(
  [
    words,
    namedFunction,
    z.object({
      type: z.literal("allowed_tools"),
      allowed_tools: z.object({
        mode,
        tools: list(namedFunction, { expected: "an array of tools", item: "tool", min: 1, max: 128 }),
      }),
    }),
  ],
  field(
    "'none', 'auto', 'required', {type: 'function', function: {name}} or {type: 'allowed_tools', allowed_tools: {mode, tools}}",
  ),
);
export const flatToolChoice = z.union(
  [
    words,
    flatNamedFunction,
    z.object({
      type: z.literal("allowed_tools"),
      mode,
      tools: list(flatNamedFunction, { expected: "an array of tools", item: "tool", min: 1, max: 128 }),
    }),
  ],
  field("'none', 'auto', 'required', {type: 'function', name} or {type: 'allowed_tools', mode, tools}"),
);

function fieldsOf<Tool extends z.ZodType, Choice extends z.ZodType>(one: Tool, choice: Choice) {
  return {
    tools: optional(list(one, { expected: "an array of tools", item: "tool", max: 128 })),
    tool_choice: optional(choice),
    parallel_tool_calls: optional(z.boolean(field("a boolean"))),
  };
}

/** As chat completions have them. */
export const toolFields = fieldsOf(tool, toolChoice);
/** As responses have them: what a tool is stands beside its type. */
export const flatToolFields = fieldsOf(flatTool, flatToolChoice);

const schema = z.object(toolFields);
const flatSchema = z.object(flatToolFields);

type Definition = z.output<z.ZodObject<typeof definition>>;

/** What a request says of tools, whatever form it says it in. */
interface ToolRequest {
  readonly tools: readonly (Definition & { readonly param: string })[];
  /** A word, the name of a function that is to be called, or those of which one may or must be. */
  readonly choice:
    | z.output<typeof words>
    | { readonly name: string }
    | { readonly mode: z.output<typeof mode>; readonly names: readonly string[] };
  readonly isParallel: boolean;
}

/** What tools mean for one answer. */
export interface ToolUse {
  /** What the model is told of; empty when it may call nothing. */
  readonly tools: readonly ToolDefinition[];
  /** What binds its text; null where it may call nothing. */
  readonly constraint: Constraint | null;
  readonly format: CallFormat;
}

/** @throws ToastError as {@link toolUse}. */
export function chatToolUse(request: z.output<typeof schema>, format: CallFormat = ownFormat): ToolUse {
  const choice = request.tool_choice ?? "auto";
  return toolUse(format, {
    tools: (request.tools ?? []).map((one, index) => ({
      ...one.function,
      param: `tools[${index}].function.parameters`,
    })),
    choice: chatChoice(choice),
    isParallel: request.parallel_tool_calls ?? true,
  });
}

function chatChoice(choice: z.output<typeof toolChoice>): ToolRequest["choice"] {
  if (typeof choice === "string") return choice;
  if (choice.type === "function") return choice.function;
  const { mode: allowed, tools } = choice.allowed_tools;
  return { mode: allowed, names: tools.map((one) => one.function.name) };
}

function flatChoice(choice: z.output<typeof flatToolChoice>): ToolRequest["choice"] {
  if (typeof choice === "string" || choice.type === "function") return choice;
  return { mode: choice.mode, names: choice.tools.map(({ name }) => name) };
}

/** @throws ToastError as {@link toolUse}. */
export function responseToolUse(request: z.output<typeof flatSchema>, format: CallFormat): ToolUse {
  return toolUse(format, {
    tools: (request.tools ?? []).map((one, index) => ({ ...one, param: `tools[${index}].parameters` })),
    choice: flatChoice(request.tool_choice ?? "auto"),
    isParallel: request.parallel_tool_calls ?? true,
  });
}

/** Tools as a template is told of them, where nothing is generated. */
export function toolDefinitions(tools: z.output<typeof schema>["tools"]): readonly ToolDefinition[] {
  return chatToolUse({ tools, tool_choice: null, parallel_tool_calls: null }).tools;
}

/**
 * What the text is bound by, with tools and without: where calls may be made and need not, a turn is calls, or a text
 * of the other kind; where they must be made, the other kind is for later turns.
 */
export function withTools(use: ToolUse, other: Constraint | null): Constraint | null {
  const { constraint: calls } = use;
  if (calls === null || other === null) return calls ?? other;
  if (calls.kind !== "textWithTags") return calls;
  const { tags, atMost, param } = calls;
  return {
    kind: "tagsOr",
    tags: { kind: "tags", separator: use.format.separator ?? "", tags, atMost, param },
    other,
    param: other.param,
  };
}

/**
 * `auto` leaves the text free until it begins a call; `required` and a named function leave nothing but calls.
 * @throws ToastError `invalid_request` for a choice that the tools do not offer.
 */
export function toolUse(format: CallFormat, { choice, isParallel, ...request }: ToolRequest): ToolUse {
  const offered = request.tools.map(({ name, description, parameters, strict, param }) => ({
    name,
    isStrict: strict === true,
    description,
    parameters: parameters ?? '{"type":"object","properties":{},"additionalProperties":false}',
    param,
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
    return { tools: [], constraint: null, format };
  }
  if (choice === "none") return { tools: [], constraint: null, format };
  const isNamed = typeof choice !== "string" && "name" in choice;
  const names = typeof choice === "string" ? null : "name" in choice ? [choice.name] : choice.names;
  const unknown = names?.find((wanted) => !offered.some(({ name }) => name === wanted));
  if (unknown !== undefined) {
    const message = `'tool_choice' names '${unknown.slice(0, 64)}', which is not among the 'tools'.`;
    throw new ToastError("invalid_request", message, { param: "tool_choice" });
  }
  const callable = names === null ? offered : offered.filter(({ name }) => names.includes(name));
  const mayWrite = choice === "auto" || (typeof choice !== "string" && "mode" in choice && choice.mode === "auto");
  const tags = callable.map(({ name, parameters, isStrict, param }) => ({
    begin: callOpening(name, format),
    schema: parameters,
    isStrict,
    end: format.end,
    param,
  }));
  // A named function is called once, as OpenAI does it.
  const atMost = !isParallel || isNamed || format.separator === null ? "one" : "any";
  return {
    tools: offered.map(({ name, description, parameters }) => ({ name, description, parameters })),
    format,
    constraint: mayWrite
      ? { kind: "textWithTags", trigger: format.trigger, tags, atMost, param: "tools" }
      : { kind: "tags", separator: format.separator ?? "", tags, atMost, param: "tools" },
  };
}
