import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

/** What scripts/write_tokenizer_reference.py wrote of one vocabulary. */
export interface TokenizerReference {
  /** Values of a GGUF file by key. */
  readonly metadata: ReadonlyMap<string, unknown>;
  /** Of each text. */
  readonly ids: readonly (readonly number[])[];
  /** What the ids of each text decode to, special tokens left out. */
  readonly decoded: readonly string[];
}

function read(name: string): Buffer {
  return readFileSync(fileURLToPath(new URL(`../../tiny/gguf-tokenizers/${name}`, import.meta.url)));
}

export const texts: readonly string[] = JSON.parse(read("texts.json").toString());

interface ReferenceFile {
  readonly metadata: object;
  readonly ids: readonly (readonly number[])[];
  readonly decoded: Readonly<Record<number, string>>;
}

function reference(name: string, metadata?: object): TokenizerReference {
  const file: ReferenceFile = JSON.parse(read(`${name}.json`).toString());
  return {
    metadata: new Map(Object.entries(metadata ?? file.metadata)),
    ids: file.ids,
    decoded: texts.map((text, place) => file.decoded[place] ?? text),
  };
}

const sentencePiece = reference("sentencepiece");

/** By name: of each kind one, and a real one. */
export const references = {
  sentencepiece: sentencePiece,
  "sentencepiece-no-prefix": reference("sentencepiece-no-prefix", {
    ...Object.fromEntries(sentencePiece.metadata),
    "tokenizer.ggml.add_space_prefix": false,
  }),
  "gpt-2": reference("gpt-2"),
  "llama-bpe": reference("llama-bpe"),
  smollm: reference("smollm"),
  default: reference("default"),
  smollm2: reference("smollm2", JSON.parse(gunzipSync(read("smollm2-metadata.json.gz")).toString())),
} as const satisfies Record<string, TokenizerReference>;

/** The metadata of a reference with some values changed; undefined takes one away. Keys without `tokenizer.ggml.`. */
export function changed(
  name: keyof typeof references,
  changes: Readonly<Record<string, unknown>>,
): Map<string, unknown> {
  const metadata = new Map(references[name].metadata);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) metadata.delete(`tokenizer.ggml.${key}`);
    else metadata.set(`tokenizer.ggml.${key}`, value);
  }
  return metadata;
}

/** A list of a reference's metadata with one entry changed. */
export function withEntry(name: keyof typeof references, key: string, index: number, value: unknown): unknown[] {
  const list = references[name].metadata.get(`tokenizer.ggml.${key}`);
  if (!Array.isArray(list)) throw new Error(`${name} has no list ${key}`);
  return list.with(index, value);
}
