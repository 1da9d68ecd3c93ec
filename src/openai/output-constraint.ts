import { z } from "zod";
import type { GenerationRequest } from "../engine/generation-request.js";
import { ToastError } from "../errors.js";
import { isShallow, jsonTextOf, maxSchemaDepth, maxSchemaText, parseSchemaText } from "./json-body.js";
import { list } from "./list-fields.js";
import { field, optional, shownAs } from "./request-fields.js";

type Constraint = NonNullable<GenerationRequest["constraint"]>;

/** A JSON Schema, as JSON text. What it says is looked at where it is compiled. */
export const jsonSchema = z.unknown().transform((value, context): string => {
  const isSchema = typeof value === "boolean" || (typeof value === "object" && value !== null && !Array.isArray(value));
  if (!isSchema) {
    context.addIssue({ code: "custom", message: "must be a JSON Schema: an object." });
    return z.NEVER;
  }
  if (!isShallow(value, maxSchemaDepth)) {
    context.addIssue({ code: "custom", message: `must be nested ${maxSchemaDepth} deep at most.` });
    return z.NEVER;
  }
  const schema = jsonTextOf(value);
  if (schema.length <= maxSchemaText) return schema;
  context.addIssue({ code: "custom", message: tooLong(schema) });
  return z.NEVER;
});

function tooLong({ length }: string): string {
  return `has ${length} characters; a JSON Schema may have ${maxSchemaText}.`;
}

/** vLLM takes the schema as an object or as its text. */
const jsonSchemaOrText = shownAs(
  z.preprocess((value, context) => {
    if (typeof value !== "string") return value;
    if (value.length > maxSchemaText) {
      context.addIssue({ code: "custom", message: tooLong(value) });
      return z.NEVER;
    }
    try {
      return parseSchemaText(value);
    } catch {
      context.addIssue({ code: "custom", message: "must be a JSON Schema, or its text: this text is no JSON." });
      return z.NEVER;
    }
  }, jsonSchema),
  z.unknown(),
);

const responseFormat = z.discriminatedUnion(
  "type",
  [
    z.object({ type: z.literal("text") }),
    z.object({
      type: z.literal("json_object"),
      /** llama.cpp's and others' place for a schema. */
      schema: optional(jsonSchema),
    }),
    z
      .object({
        type: z.literal("json_schema"),
        json_schema: optional(
          z.object(
            {
              /** Names nothing here; OpenAI asks for one. */
              name: optional(z.string(field("a name"))),
              description: optional(z.string(field("a string"))),
              schema: optional(jsonSchema),
              /** The output always keeps to the schema, strictly asked for or not. */
              strict: optional(z.boolean(field("a boolean"))),
            },
            field("an object with `name` and `schema`"),
          ),
        ),
        /** llama.cpp's place for it. */
        schema: optional(jsonSchema),
      })
      .refine(({ json_schema, schema }) => json_schema !== null || schema !== null, {
        path: ["json_schema"],
        message: "is missing; it must be an object with `name` and `schema`.",
      }),
  ],
  field("{type: 'text'}, {type: 'json_object'} or {type: 'json_schema', json_schema: {name, schema}}"),
);

/** Of one character each there are so many in as much text as a list of choices may have (constraint-rules.ts). */
const mostChoices = 50_000;
const text = z.string(field("a string")).min(1, "must not be empty.");
const choices = list(text, { expected: "an array of strings", item: "string", min: 1, max: mostChoices });

const structuredOutputs = z.strictObject(
  {
    json: optional(jsonSchemaOrText),
    json_object: optional(z.boolean(field("a boolean"))),
    regex: optional(text),
    choice: optional(choices),
    grammar: optional(text),
  },
  field("an object with one of `json`, `json_object`, `regex`, `choice` and `grammar`"),
);

/** Fields that say what the text has to be: OpenAI's, and vLLM's under its newer and older names. */
export const constraintFields = {
  response_format: optional(responseFormat),
  structured_outputs: optional(structuredOutputs),
  guided_json: optional(jsonSchemaOrText),
  guided_regex: optional(text),
  guided_choice: optional(choices),
  guided_grammar: optional(text),
  json_schema: optional(jsonSchemaOrText).describe("llama.cpp's name of `structured_outputs.json`."),
  regex: optional(text).describe("SGLang's name of `structured_outputs.regex`."),
  grammar: optional(text).describe("llama.cpp's name of `structured_outputs.grammar`."),
  ebnf: optional(text).describe("SGLang's name of the same."),
};

const schema = z.object(constraintFields);

/**
 * What the fields ask for together.
 * @returns null for any text.
 * @throws ToastError `invalid_request` when two of them ask.
 */
export function outputConstraint(request: z.infer<typeof schema>): Constraint | null {
  const constraints = [
    ...fromResponseFormat(request.response_format),
    ...fromStructuredOutputs(request.structured_outputs),
    ...ofKind("guided_json", request.guided_json, schemaConstraint),
    ...ofKind("guided_regex", request.guided_regex, regexConstraint),
    ...ofKind("guided_choice", request.guided_choice, choiceConstraint),
    ...ofKind("guided_grammar", request.guided_grammar, grammarConstraint),
    ...ofKind("json_schema", request.json_schema, schemaConstraint),
    ...ofKind("regex", request.regex, regexConstraint),
    ...ofKind("grammar", request.grammar, grammarConstraint),
    ...ofKind("ebnf", request.ebnf, grammarConstraint),
  ];
  const [first = null, second] = constraints;
  if (first !== null && second !== undefined) {
    throw new ToastError(
      "invalid_request",
      `'${first.param}' and '${second.param}' cannot both hold. Leave one of them out.`,
      {
        param: second.param,
      },
    );
  }
  return first;
}

function fromResponseFormat(format: z.infer<typeof responseFormat> | null): readonly Constraint[] {
  if (format === null || format.type === "text") return [];
  const schema = format.type === "json_schema" ? (format.json_schema?.schema ?? format.schema) : format.schema;
  return [jsonConstraint(schema, "response_format")];
}

/** JSON of a schema, any object where there is none. */
export function jsonConstraint(schema: string | null, param: string): Constraint {
  return schema === null ? { kind: "jsonObject", param } : { kind: "jsonSchema", schema, param };
}

function fromStructuredOutputs(outputs: z.infer<typeof structuredOutputs> | null): readonly Constraint[] {
  if (outputs === null) return [];
  const isObject = outputs.json_object === true ? true : null;
  return [
    ...ofKind("structured_outputs.json", outputs.json, schemaConstraint),
    ...ofKind("structured_outputs.json_object", isObject, (_, param) => ({ kind: "jsonObject", param })),
    ...ofKind("structured_outputs.regex", outputs.regex, regexConstraint),
    ...ofKind("structured_outputs.choice", outputs.choice, choiceConstraint),
    ...ofKind("structured_outputs.grammar", outputs.grammar, grammarConstraint),
  ];
}

function ofKind<Value>(
  param: string,
  value: Value | null,
  make: (value: Value, param: string) => Constraint,
): readonly Constraint[] {
  return value === null ? [] : [make(value, param)];
}

const schemaConstraint = (schema: string, param: string): Constraint => ({ kind: "jsonSchema", schema, param });
const regexConstraint = (pattern: string, param: string): Constraint => ({ kind: "regex", pattern, param });
const choiceConstraint = (options: readonly string[], param: string): Constraint => ({
  kind: "choice",
  options,
  param,
});
const grammarConstraint = (grammar: string, param: string): Constraint => ({ kind: "grammar", grammar, param });
