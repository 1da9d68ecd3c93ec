import fc from "fast-check";

/** Requests as a confused or hostile client might write them: valid bodies with a few things changed. */
export interface MutatedRequest {
  readonly path: string;
  readonly body: string;
}

const chat = {
  model: "tiny:alpaca",
  messages: [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "Hi 🙂" }] },
  ],
  max_completion_tokens: 2,
  temperature: 0.7,
  stop: ["x", "yz"],
  seed: 1,
};

/** A valid body for each endpoint, and the field that says how much to write, by which the tests keep answers short. */
const starts: readonly { readonly path: string; readonly body: object; readonly lengthField: string | null }[] = [
  { path: "/v1/chat/completions", body: chat, lengthField: "max_completion_tokens" },
  {
    path: "/v1/chat/completions",
    body: { ...chat, stream: true, stream_options: { include_usage: true }, n: 2, logprobs: true, top_logprobs: 2 },
    lengthField: "max_completion_tokens",
  },
  {
    path: "/v1/chat/completions",
    body: { ...chat, steering: { strength: 1.5, layers: [0, 1], explain: true }, logit_bias: { "5": -1 } },
    lengthField: "max_completion_tokens",
  },
  {
    path: "/v1/completions",
    body: { model: "tiny", prompt: ["Once", "upon"], max_tokens: 2, echo: true, logprobs: 1, n: 2, stream: true },
    lengthField: "max_tokens",
  },
  { path: "/v1/completions", body: { model: "tiny", prompt: [1, 5, 9], max_tokens: 1 }, lengthField: "max_tokens" },
  {
    path: "/api/embed",
    body: { model: "tiny:latest", input: ["Hi", "there"], truncate: true, keep_alive: "5m" },
    lengthField: null,
  },
  {
    path: "/v1/responses",
    body: {
      model: "tiny:alpaca",
      input: [{ role: "user", content: [{ type: "input_text", text: "Hi" }] }],
      instructions: "Be brief.",
      max_output_tokens: 2,
      include: ["message.output_text.logprobs"],
      metadata: { a: "b" },
      stream: true,
    },
    lengthField: "max_output_tokens",
  },
  {
    path: "/v1/messages",
    body: {
      model: "tiny:alpaca",
      max_tokens: 2,
      system: [{ type: "text", text: "Be brief.", cache_control: { type: "ephemeral" } }],
      messages: [
        { role: "user", content: [{ type: "text", text: "Hi" }] },
        { role: "assistant", content: [{ type: "tool_use", id: "toolu_1", name: "f", input: { a: 1 } }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_1", content: "x", is_error: true }] },
      ],
      stop_sequences: ["x", "yz"],
      steering: { strength: 1.5, explain: true },
      stream: true,
    },
    lengthField: "max_tokens",
  },
  {
    path: "/v1/messages",
    body: {
      model: "tiny",
      max_tokens: 2,
      messages: [{ role: "user", content: "Hi" }],
      tools: [{ name: "f", input_schema: { type: "object", properties: {} } }],
      tool_choice: { type: "auto", disable_parallel_tool_use: true },
      thinking: { type: "disabled" },
      metadata: { user_id: "u" },
    },
    lengthField: "max_tokens",
  },
  {
    path: "/v1/messages/count_tokens",
    body: { model: "tiny:alpaca", messages: [{ role: "user", content: "Hi" }], system: "Be brief." },
    lengthField: null,
  },
  {
    path: "/v1/embeddings",
    body: { model: "tiny:alpaca", input: ["Hi", "there"], encoding_format: "base64", steering: { strength: 0.5 } },
    lengthField: null,
  },
  { path: "/v1/embeddings", body: { input: [[1, 5], [9]], pooling: "last", dimensions: null }, lengthField: null },
  { path: "/tokenize", body: { prompt: "Hi", return_token_strs: true }, lengthField: null },
  { path: "/detokenize", body: { tokens: [1, 2, 3] }, lengthField: null },
  { path: "/apply-template", body: { messages: chat.messages }, lengthField: null },
];

const fieldNames = [
  ..."model messages prompt input stream stream_options n max_tokens max_completion_tokens max_output_tokens".split(
    " ",
  ),
  ..."temperature top_p top_k min_p presence_penalty frequency_penalty repetition_penalty seed stop".split(" "),
  ..."logit_bias logprobs top_logprobs prompt_logprobs min_tokens stop_token_ids ignore_eos steering echo".split(" "),
  ..."suffix best_of tools tool_choice response_format functions store metadata user instructions include".split(" "),
  ..."text reasoning truncation background previous_response_id add_generation_prompt chat_template".split(" "),
  ..."continue_final_message chat_template_kwargs add_special_tokens parallel_tool_calls role content type".split(" "),
  ..."system stop_sequences thinking input_schema input is_error tool_use_id id name output_config".split(" "),
  ..."strength layers adapter explain include_usage tokens __proto__ constructor toString length".split(" "),
];

const strangeText = fc.oneof(
  fc.constantFrom(
    "",
    " ",
    "\u0000",
    "\ud800",
    "</s>",
    "<s>",
    "{{ x }}",
    "🙂".repeat(40),
    "a".repeat(5000),
    "-1",
    "1e400",
  ),
  fc.string({ unit: "binary", maxLength: 12 }),
);

const strangeNumber = fc.oneof(
  fc.constantFrom(0, -0, 1, -1, 2, 0.5, 1e-320, 1e308, -1e308, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 63, 4096, 1.0000001),
  fc.integer({ min: -300, max: 300 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

const strangeValue = fc.oneof(
  { weight: 3, arbitrary: strangeNumber },
  { weight: 2, arbitrary: strangeText },
  { weight: 2, arbitrary: fc.constantFrom(null, true, false, [], {}, [[]], [null], [{}], { type: "text" }) },
  { weight: 1, arbitrary: fc.array(fc.oneof(strangeText, strangeNumber), { maxLength: 6 }) },
  {
    weight: 1,
    arbitrary: fc.dictionary(fc.constantFrom(...fieldNames), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 }),
  },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 300 }).map(nested) },
);

/** What to do to one place of a body; `at` picks the place. */
const mutation = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("replace" as const), at: fc.nat(), value: strangeValue }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("remove" as const), at: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wrap" as const), at: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("repeat" as const), at: fc.nat(), times: fc.nat({ max: 40 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("add" as const),
      at: fc.nat(),
      name: fc.constantFrom(...fieldNames),
      value: strangeValue,
    }),
  },
);

type Mutation = typeof mutation extends fc.Arbitrary<infer Value> ? Value : never;

export const mutatedRequest: fc.Arbitrary<MutatedRequest> = fc
  .record({
    start: fc.constantFrom(...starts),
    mutations: fc.array(mutation, { minLength: 0, maxLength: 4 }),
    /** One in ten bodies is damaged as text, too. */
    damage: fc.option(fc.record({ at: fc.nat(), text: fc.constantFrom("", "{", "]", "\\", '"', "\u0000", "ü") }), {
      freq: 9,
    }),
  })
  .map(({ start, mutations, damage }) => {
    let body: unknown = structuredClone(start.body);
    for (const one of mutations) body = mutate(body, one);
    const text = JSON.stringify(shortened(body, start.lengthField));
    return { path: start.path, body: damage === null ? text : damaged(text, damage) };
  });

function mutate(body: unknown, change: Mutation): unknown {
  const places = placesOf(body);
  const place = places[change.at % places.length];
  if (place === undefined) return body;
  const { holder, key } = place;
  const value = holder[key];
  switch (change.kind) {
    case "replace":
      // A copy: a value is generated once and put in many places.
      holder[key] = structuredClone(change.value);
      break;
    case "remove":
      delete holder[key];
      break;
    case "wrap":
      holder[key] = [value];
      break;
    case "repeat":
      holder[key] = new Array(change.times).fill(value);
      break;
    case "add": {
      const target = typeof value === "object" && value !== null && !Array.isArray(value) ? value : body;
      // As JSON.parse does it, `__proto__` is a key like any other.
      if (typeof target === "object" && target !== null) {
        Object.defineProperty(target, change.name, {
          value: structuredClone(change.value),
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
    }
  }
  return body;
}

interface Place {
  readonly holder: Record<string, unknown>;
  readonly key: string;
}

function placesOf(value: unknown): Place[] {
  if (typeof value !== "object" || value === null) return [];
  const holder = value as Record<string, unknown>;
  return Object.keys(holder)
    .slice(0, 50)
    .flatMap((key) => [{ holder, key }, ...placesOf(holder[key])]);
}

/** So that an accepted request costs little: what is not of the right type stays as it is. */
function shortened(body: unknown, lengthField: string | null): unknown {
  if (typeof body !== "object" || body === null || Array.isArray(body) || lengthField === null) return body;
  const fields = body as { readonly n?: unknown; readonly [name: string]: unknown };
  const length = fields[lengthField];
  const few = length === undefined || length === null || (typeof length === "number" && length > 2) ? 2 : length;
  const choices = typeof fields.n === "number" && fields.n > 3 && fields.n <= 128 ? 3 : fields.n;
  return { ...fields, [lengthField]: few, ...(choices === undefined ? {} : { n: choices }) };
}

function damaged(text: string, { at, text: inserted }: { readonly at: number; readonly text: string }): string {
  const place = at % (text.length + 1);
  return inserted === "" ? text.slice(0, place) : text.slice(0, place) + inserted + text.slice(place);
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}
