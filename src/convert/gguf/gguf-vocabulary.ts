import { ToastError } from "../../errors.js";

/**
 * Metadata of a GGUF file by key, as any reader of the format hands it over: strings, numbers, booleans, and arrays of
 * them, typed or not. Nothing is believed of the values until it was looked at.
 */
export type GgufValues = ReadonlyMap<string, unknown>;

/** What a token is for, in GGUF's own order: `tokenizer.ggml.token_type` counts from 1. */
const tokenKinds = ["normal", "unknown", "control", "user-defined", "unused", "byte"] as const;
export type TokenKind = (typeof tokenKinds)[number];

/** The kinds of vocabulary that are understood: SentencePiece with scores, and byte-level BPE with merges. */
export const vocabularyModels = ["llama", "gpt2"] as const;
export type VocabularyModel = (typeof vocabularyModels)[number];

/** Vocabulary and switches of `tokenizer.ggml.*`, checked: each list is as long as `tokens`, each id is one of them. */
export interface GgufVocabulary {
  readonly model: VocabularyModel;
  /** Name of the rule that parts text into words before BPE; llama.cpp reads a file without one as `default`. */
  readonly preTokenizer: string;
  /** Text by id, each its own. `▁` stands for a space in `llama`, `Ġ` and its kin for bytes in `gpt2`. */
  readonly tokens: readonly string[];
  /** Kind by id. */
  readonly kinds: readonly TokenKind[];
  /** Score by id, finite; null in a file without scores. */
  readonly scores: ArrayLike<number> | null;
  /** Pairs in the order in which they are joined, each part and their product tokens; null in a file without merges. */
  readonly merges: readonly (readonly [string, string])[] | null;
  readonly ids: Readonly<Record<SpecialTokenName, number | null>>;
  readonly addBos: boolean;
  readonly addEos: boolean;
  /** Whether a space is put in front of a text (`llama` only). */
  readonly addSpacePrefix: boolean;
}

/** Keys of single tokens with a task, without `tokenizer.ggml.` and `_token_id`. */
const specialTokenNames = ["bos", "eos", "eot", "eom", "unknown", "padding", "fim_pad", "fim_rep", "fim_sep"] as const;
export type SpecialTokenName = (typeof specialTokenNames)[number];

/**
 * Reads and checks everything that a GGUF file says of its tokenizer, with llama.cpp's defaults for what it leaves out.
 * @param file Path for the messages.
 * @throws ToastError `unsupported_tokenizer` when the vocabulary is of another kind, incomplete, or contradicts itself.
 * @see https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp
 */
export function readVocabulary(metadata: GgufValues, file: string): GgufVocabulary {
  const reader = new MetadataReader(metadata, file);
  const model = reader.string("model");
  if (model === null) throw reader.refusal("has no tokenizer.ggml.model, so its tokenizer is not known");
  if (!isVocabularyModel(model)) {
    throw reader.refusal(
      `has a tokenizer of the kind "${model}" (tokenizer.ggml.model); supported are ${vocabularyModels.join(" and ")}`,
    );
  }
  const tokens = readTokens(reader);
  const ids = readSpecialIds(reader, model, tokens.length);
  const preTokenizer = (model === "gpt2" ? reader.string("pre") : null) ?? "default";
  if (model === "llama") refuseNormalization(reader);
  return {
    model,
    preTokenizer,
    tokens,
    kinds: readKinds(reader, tokens, ids),
    scores: readScores(reader, tokens.length),
    merges: readMerges(reader, tokens),
    ids,
    addBos: readAdding(reader, "bos", ids) ?? (model === "llama" || preTokenizer === "llama-bpe"),
    addEos: readAdding(reader, "eos", ids) ?? false,
    addSpacePrefix: model === "llama" && (reader.boolean("add_space_prefix") ?? true),
  };
}

function isVocabularyModel(name: string): name is VocabularyModel {
  return (vocabularyModels as readonly string[]).includes(name);
}

function readTokens(reader: MetadataReader): string[] {
  const tokens = reader.strings("tokens");
  if (tokens === null || tokens.length === 0) throw reader.refusal("has no vocabulary (tokenizer.ggml.tokens)");
  // As llama.cpp names them: an empty text cannot be told from no text.
  const named = tokens.map((token, id) => (token === "" ? `[EMPTY_${id}]` : token));
  const seen = new Map<string, number>();
  for (const [id, token] of named.entries()) {
    const other = seen.get(token);
    if (other !== undefined) {
      throw reader.refusal(`gives the text ${JSON.stringify(token)} to two tokens, ${other} and ${id}`);
    }
    seen.set(token, id);
  }
  return named;
}

function readKinds(
  reader: MetadataReader,
  tokens: readonly string[],
  ids: GgufVocabulary["ids"],
): readonly TokenKind[] {
  const types = reader.numbers("token_type", tokens.length);
  if (types !== null) {
    return Array.from(types, (type, id) => {
      const kind = tokenKinds[type - 1];
      if (kind === undefined) {
        throw reader.refusal(`gives token ${id} the type ${type} (tokenizer.ggml.token_type), which is none of 1 to 6`);
      }
      return kind;
    });
  }
  const controls = new Set([ids.bos, ids.eos, ids.eot, ids.eom]);
  return tokens.map((token, id) => {
    if (id === ids.unknown) return "unknown";
    if (controls.has(id)) return "control";
    return /^<0x[0-9A-F]{2}>$/.test(token) ? "byte" : "normal";
  });
}

function readScores(reader: MetadataReader, count: number): ArrayLike<number> | null {
  const scores = reader.numbers("scores", count);
  const flawed = scores === null ? -1 : Array.prototype.findIndex.call(scores, (score) => !Number.isFinite(score));
  if (flawed !== -1) throw reader.refusal(`gives token ${flawed} a score that is no finite number`);
  return scores;
}

function readMerges(reader: MetadataReader, tokens: readonly string[]): [string, string][] | null {
  const lines = reader.strings("merges");
  if (lines === null) return null;
  const known = new Set(tokens);
  const merges = new Map<string, [string, string]>();
  for (const [rank, line] of lines.entries()) {
    // A first part may begin with a space, no other place may have one.
    const space = line.indexOf(" ", 1);
    const pair: [string, string] = [line.slice(0, space), line.slice(space + 1)];
    if (space === -1 || ![...pair, pair.join("")].every((token) => known.has(token))) {
      throw reader.refusal(
        `has a merge that joins no two of its tokens into a third: ${JSON.stringify(line)} (${rank})`,
      );
    }
    // What comes twice counts where it came first.
    if (!merges.has(line)) merges.set(line, pair);
  }
  return [...merges.values()];
}

/** −1 written as an unsigned number: some converters mean "none" by it. */
const none = 0xffff_ffff;

function readSpecialIds(reader: MetadataReader, model: VocabularyModel, count: number): GgufVocabulary["ids"] {
  const usual: Partial<Record<SpecialTokenName, number>> = model === "llama" ? { unknown: 0, bos: 1, eos: 2 } : {};
  const idOf = (name: SpecialTokenName): number | null => {
    const stated = reader.number(`${name}_token_id`);
    if (stated === null) {
      const id = usual[name];
      return id !== undefined && id < count ? id : null;
    }
    if (stated === none || stated === -1) return null;
    if (!Number.isInteger(stated) || stated < 0 || stated >= count) {
      throw reader.refusal(`names token ${stated} as tokenizer.ggml.${name}_token_id, but has ${count} tokens`);
    }
    return stated;
  };
  return Object.fromEntries(specialTokenNames.map((name) => [name, idOf(name)])) as GgufVocabulary["ids"];
}

/** Whether the file wants a token of its own around texts; null where it does not say. */
function readAdding(reader: MetadataReader, name: "bos" | "eos", ids: GgufVocabulary["ids"]): boolean | null {
  const adding = reader.boolean(`add_${name}_token`);
  if (adding === true && ids[name] === null) {
    throw reader.refusal(`wants its ${name.toUpperCase()} token added to texts, but names none (${name}_token_id)`);
  }
  return adding;
}

/** LLaMA's SentencePiece models take text as it is. One that does not would be split wrongly without a sign of it. */
function refuseNormalization(reader: MetadataReader): void {
  if (reader.boolean("remove_extra_whitespaces") === true) {
    throw reader.refusal(
      "removes extra whitespace before it splits text (remove_extra_whitespaces), which is not supported",
    );
  }
  if ((reader.length("precompiled_charsmap") ?? 0) > 0) {
    throw reader.refusal("normalizes characters before it splits text (precompiled_charsmap), which is not supported");
  }
}

/** Values of `tokenizer.ggml.*` by type; null where there is none. */
class MetadataReader {
  readonly #metadata: GgufValues;
  readonly #file: string;

  constructor(metadata: GgufValues, file: string) {
    this.#metadata = metadata;
    this.#file = file;
  }

  refusal(fault: string): ToastError {
    return new ToastError("unsupported_tokenizer", `${this.#file} ${fault}.`);
  }

  string(key: string): string | null {
    return this.#value(key, "text", (value) => typeof value === "string");
  }

  boolean(key: string): boolean | null {
    return this.#value(key, "true or false", (value) => typeof value === "boolean");
  }

  number(key: string): number | null {
    const isNumber = (value: unknown) => typeof value === "number" || typeof value === "bigint";
    const value = this.#value<number | bigint>(key, "a number", isNumber);
    return value === null ? null : Number(value);
  }

  strings(key: string): readonly string[] | null {
    const isStrings = (value: unknown) => Array.isArray(value) && value.every((item) => typeof item === "string");
    return this.#value(key, "a list of texts", isStrings);
  }

  /** @param count How many there have to be: one a token. */
  numbers(key: string, count: number): ArrayLike<number> | null {
    const isNumbers = (value: unknown) =>
      isList(value) && Array.prototype.every.call(value, (n) => typeof n === "number");
    const numbers = this.#value<ArrayLike<number>>(key, "a list of numbers", isNumbers);
    if (numbers !== null && numbers.length !== count) {
      throw this.refusal(`has ${count} tokens, but ${numbers.length} entries in tokenizer.ggml.${key}`);
    }
    return numbers;
  }

  length(key: string): number | null {
    return this.#value<ArrayLike<unknown>>(key, "a list", isList)?.length ?? null;
  }

  #value<T>(key: string, expected: string, fits: (value: unknown) => boolean): T | null {
    const value = this.#metadata.get(`tokenizer.ggml.${key}`);
    if (value === undefined) return null;
    if (!fits(value)) throw this.refusal(`has a tokenizer.ggml.${key} that is not ${expected}`);
    return value as T;
  }
}

function isList(value: unknown): boolean {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}
