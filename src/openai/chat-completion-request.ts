import { z } from "zod";
import { ToastError } from "../errors.js";
import { ignoredParameters, only, unsupportedParameters } from "./parameter-policy.js";
import { field, firstIssueAsError, optional, refuse } from "./request-fields.js";

/** Text parts join with a line break, as vLLM and llama.cpp join them. */
const partSeparator = "\n";

/**
 * One part of a message's content. Parts that are not text are known and refused, naming the part: a model that reads
 * text only must not answer as if it had seen a picture.
 */
const contentPart = z
  .object(
    { type: z.string(field("the part's type")), text: z.unknown().optional() },
    field("a part such as {type: 'text', text: '…'}"),
  )
  .transform((part, context) => {
    if (part.type !== "text") {
      return refuse(
        context,
        `Content of type '${part.type.slice(0, 40)}' is not supported: this server reads text only.`,
      );
    }
    if (typeof part.text !== "string") {
      context.addIssue({ code: "custom", path: ["text"], message: "must be a string." });
      return z.NEVER;
    }
    return part.text;
  });

/** A string or `[{type: "text", text}]`, for every role; flattened to one string. */
const content = z.preprocess(
  (value) => (typeof value === "string" ? [{ type: "text", text: value }] : value),
  z
    .array(contentPart, field("a string or an array of text parts"))
    .transform((texts) => wellFormed(texts.join(partSeparator))),
);

const roles = ["system", "developer", "user", "assistant"] as const;
const rolesRefused: ReadonlySet<string> = new Set(["tool", "function"]);

const role = z
  .string(field(`one of ${roles.join(", ")}`))
  .transform((value, context): "system" | "user" | "assistant" => {
    switch (value) {
      case "system":
      case "user":
      case "assistant":
        return value;
      case "developer":
        // No template of an open model knows this newer word for the same thing.
        return "system";
      default:
        if (rolesRefused.has(value)) {
          return refuse(context, `Messages of role '${value}' are not supported: this server calls no tools yet.`);
        }
        context.addIssue({ code: "custom", message: `must be one of ${roles.join(", ")}.` });
        return z.NEVER;
    }
  });

const message = z
  // What is not named here is dropped: clients send back whole answers (`annotations: []`, `refusal: null`), and `name`s
  // that the templates of open models have no place for.
  .object(
    {
      role,
      content: content.nullish(),
      tool_calls: only([[]], "Tool calls are not supported: this server calls no tools yet."),
      function_call: only([], "Function calls are not supported."),
    },
    field("an object with `role` and `content`"),
  )
  .transform(({ role, content }, context) => {
    if (content === undefined || content === null) {
      context.addIssue({ code: "custom", path: ["content"], message: "must be a string or an array of text parts." });
      return z.NEVER;
    }
    return { role, content };
  });

const steering = z.strictObject(
  {
    /** Adapter name without the base's id; default: the one of the model id. */
    adapter: optional(z.string(field("an adapter's name"))),
    /** Factor on the top-down values; 1 is what was trained, 0 is the base model itself. */
    strength: optional(number(0, 4)),
    /** Steered layers, both ends included, counted from 0. Checked against the model's depth where the model is known. */
    layers: optional(
      z
        .tuple([layer(), layer()], field("[from, to], two layer numbers"))
        .refine(([from, to]) => from <= to, "must be [from, to] with from ≤ to."),
    ),
    explain: optional(
      z
        .boolean(field("a boolean"))
        .transform((value, context) =>
          value ? refuse(context, "Explaining is not supported yet. Leave `steering.explain` out.") : value,
        ),
    ),
  },
  field("an object such as {strength: 0.5}"),
);

const streamOptions = z.object(
  {
    include_usage: optional(z.boolean(field("a boolean"))),
    include_obfuscation: only([false], "Stream obfuscation is not supported."),
  },
  field("an object"),
);

/** OpenAI's limit. */
const maxChoices = 128;

const stopString = z
  .string(field("a string"))
  .min(1, "must not be empty: an empty stop string matches everywhere.")
  .transform(wellFormed);

const schema = z.object(
  {
    model: z.string(field("the id of a served model (see GET /v1/models)")),
    messages: z.array(message, field("an array of messages")).min(1, "must hold at least one message."),
    stream: optional(z.boolean(field("a boolean"))),
    stream_options: optional(streamOptions),
    n: optional(integer(1).max(maxChoices, `must be ${maxChoices} at most.`)),
    max_tokens: optional(integer(1)),
    max_completion_tokens: optional(integer(1)),
    temperature: optional(number(0, 2)),
    top_p: optional(number(0, 1)),
    top_k: optional(integer(-1)),
    min_p: optional(number(0, 1).refine((value) => value < 1, "must be below 1.")),
    presence_penalty: optional(number(-2, 2)),
    frequency_penalty: optional(number(-2, 2)),
    // Beyond these bounds the products of a few hundred repetitions leave the range of a float.
    repetition_penalty: optional(number(0.01, 10)),
    // Not z.int(): OpenAI documents 64-bit seeds, which JSON parsing has already rounded to the nearest double.
    seed: optional(z.number(field("an integer")).refine(Number.isInteger, "must be an integer.")),
    stop: optional(
      z.preprocess(
        (value) => (typeof value === "string" ? [value] : value),
        z.array(stopString, field("a string or an array of up to 4 strings")).max(4, "takes up to 4 strings."),
      ),
    ),
    /** vLLM's: go on after the end-of-sequence token. */
    ignore_eos: optional(z.boolean(field("a boolean"))),
    steering: optional(steering),
    ...ignoredParameters,
    ...unsupportedParameters,
  },
  field("a JSON object"),
);

/** A request of POST /v1/chat/completions, checked; null stands for "not given" as OpenAI's clients send it. */
export type ChatCompletionRequest = z.infer<typeof schema>;

/**
 * Checks what a client sent. Knows no model: whether the adapter exists and the layers fit is decided where it is known.
 * Fields that no list names are ignored (clients add new ones all the time).
 * @throws ToastError `invalid_request` or `unsupported_parameter`, with the `param` at fault.
 */
export function parseChatCompletionRequest(body: unknown): ChatCompletionRequest {
  const parsed = schema.safeParse(body);
  if (!parsed.success) {
    throw firstIssueAsError(parsed.error);
  }
  const request = parsed.data;
  if (request.stream_options !== null && request.stream !== true) {
    throw new ToastError("invalid_request", "'stream_options' is allowed only together with 'stream': true.", {
      param: "stream_options",
    });
  }
  return request;
}

function number(min: number, max: number) {
  const expected = `a number from ${min} to ${max}`;
  return z.number(field(expected)).min(min, `must be ${expected}.`).max(max, `must be ${expected}.`);
}

function integer(min: number) {
  const expected = `an integer of at least ${min}`;
  return z.int(field(expected)).min(min, `must be ${expected}.`);
}

function layer() {
  return integer(0);
}

/** JSON may carry half of a surrogate pair (`"\ud800"`), which no tokenizer has a byte for; it becomes U+FFFD. */
function wellFormed(text: string): string {
  return Buffer.from(text, "utf8").toString("utf8");
}
