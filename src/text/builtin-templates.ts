/** Chat formats that need no template file: for backbones and adapters tuned on Alpaca or on Vicuna conversations. */
export type BuiltinTemplateName = "alpaca" | "vicuna";

/**
 * Stanford Alpaca. One user message and nothing else renders exactly as in training, up to the response:
 * `BOS + preamble + instruction block + "### Response:\n"`; the tuned model then writes `response + EOS`.
 *
 * The format itself knows single turns only. What it is given beyond that:
 * - Earlier turns follow one preamble as `### Instruction:` / `### Response:` pairs, EOS after each earlier response,
 *   because the model has only ever seen a response end with EOS.
 * - System text stands in front of the preamble. A conversation of nothing but system text takes it as the instruction.
 * - A user message that brings its own `\n\n### Input:\n` block gets the preamble of the entries with an input, so the
 *   second training format can be reached as well.
 */
const alpaca = [
  `{{- bos_token -}}`,
  `{%- set state = namespace(system='', separator='', users=0, withInput=false) -%}`,
  `{%- for message in messages -%}`,
  `{%- if message['role'] == 'system' -%}`,
  `{%- set state.system = state.system + state.separator + message['content'] -%}`,
  `{%- set state.separator = '\\n\\n' -%}`,
  `{%- elif message['role'] == 'user' -%}`,
  `{%- set state.users = state.users + 1 -%}`,
  `{%- if '\\n\\n### Input:\\n' in message['content'] -%}{%- set state.withInput = true -%}{%- endif -%}`,
  `{%- endif -%}`,
  `{%- endfor -%}`,
  `{%- if state.system != '' and state.users > 0 -%}{{- state.system + '\\n\\n' -}}{%- endif -%}`,
  `{{- 'Below is an instruction that describes a task' -}}`,
  `{%- if state.withInput -%}{{- ', paired with an input that provides further context' -}}{%- endif -%}`,
  `{{- '. Write a response that appropriately completes the request.' -}}`,
  `{%- if state.users == 0 -%}{{- '\\n\\n### Instruction:\\n' + state.system -}}{%- endif -%}`,
  `{%- for message in messages -%}`,
  `{%- if message['role'] == 'user' -%}`,
  `{{- '\\n\\n### Instruction:\\n' + message['content'] -}}`,
  `{%- elif message['role'] == 'assistant' -%}`,
  `{{- '\\n\\n### Response:\\n' + message['content'] + eos_token -}}`,
  `{%- endif -%}`,
  `{%- endfor -%}`,
  `{%- if add_generation_prompt -%}{{- '\\n\\n### Response:\\n' -}}{%- endif -%}`,
].join("");

/**
 * Vicuna v1.1. System text replaces the standard opening, as in the conversations the format was trained on.
 * The prompt ends at `ASSISTANT:` without a space: the answer's first token brings its own.
 */
const vicuna = [
  `{{- bos_token -}}`,
  `{%- set state = namespace(system='', separator='', between=' ') -%}`,
  `{%- for message in messages -%}`,
  `{%- if message['role'] == 'system' -%}`,
  `{%- set state.system = state.system + state.separator + message['content'] -%}`,
  `{%- set state.separator = '\\n\\n' -%}`,
  `{%- endif -%}`,
  `{%- endfor -%}`,
  `{%- if state.system != '' -%}{{- state.system -}}`,
  `{%- else -%}`,
  `{{- 'A chat between a curious user and an artificial intelligence assistant. ' -}}`,
  `{{- "The assistant gives helpful, detailed, and polite answers to the user's questions." -}}`,
  `{%- endif -%}`,
  `{%- for message in messages -%}`,
  `{%- if message['role'] == 'user' -%}`,
  `{{- state.between + 'USER: ' + message['content'] -}}`,
  `{%- set state.between = ' ' -%}`,
  `{%- elif message['role'] == 'assistant' -%}`,
  `{{- state.between + 'ASSISTANT: ' + message['content'] + eos_token -}}`,
  // No space after EOS: it ends the answer, and USER: follows it directly.
  `{%- set state.between = '' -%}`,
  `{%- endif -%}`,
  `{%- endfor -%}`,
  `{%- if add_generation_prompt -%}{{- state.between + 'ASSISTANT:' -}}{%- endif -%}`,
].join("");

/** Jinja source by name; needs `bos_token`, `eos_token`, `messages` and `add_generation_prompt`. */
export const builtinTemplates: Readonly<Record<BuiltinTemplateName, string>> = { alpaca, vicuna };
