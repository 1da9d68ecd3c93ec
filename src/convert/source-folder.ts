import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { ToastError } from "../errors.js";
import { type BackboneManifest, type SamplingDefaults, samplingDefaultsSchema } from "../model/manifest.js";
import { type LlamaConfig, parseLlamaConfig } from "./llama-config.js";
import { schemaIssue } from "./schema-issue.js";

type SpecialTokens = BackboneManifest["tokens"];

/** What a Hugging Face folder says beside its weights. */
export interface SourceFolder {
  readonly config: LlamaConfig;
  readonly tokens: SpecialTokens;
  /** The bytes of tokenizer.json. */
  readonly tokenizer: Uint8Array;
  /** Jinja source, or null when the folder brings none. */
  readonly chatTemplate: string | null;
  /** What generation_config.json recommends. */
  readonly sampling: SamplingDefaults;
  /** `license` of the model card's front matter, or null. */
  readonly licence: string | null;
  /** What was left out, in sentences. */
  readonly warnings: readonly string[];
}

const id = z.int();
const generationSchema = z.looseObject({
  bos_token_id: id.nullish(),
  eos_token_id: z.union([id, z.array(id)]).nullish(),
  pad_token_id: id.nullish(),
});
/** A token stands as its text or as an object around it. */
const tokenText = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const tokenizerConfigSchema = z.looseObject({
  bos_token: tokenText,
  eos_token: tokenText,
  pad_token: tokenText,
  chat_template: z.union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))]).nullish(),
});
const tokenizerSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: z.int().nonnegative(), content: z.string() })).default([]),
  model: z.looseObject({
    vocab: z.union([z.record(z.string(), z.number()), z.array(z.tuple([z.string(), z.number()]))]),
  }),
});

/**
 * Reads everything of a folder but the weights.
 * @throws ToastError `file_missing` without config.json or tokenizer.json, `unsupported_tokenizer` when the latter
 *   cannot be read, and as `parseLlamaConfig`.
 */
export async function readSourceFolder(folder: string): Promise<SourceFolder> {
  const configFile = join(folder, "config.json");
  const config = parseLlamaConfig(await readJson(configFile, "invalid_config"), configFile);

  const tokenizerFile = join(folder, "tokenizer.json");
  const tokenizer = await readTokenizer(folder, tokenizerFile);
  const texts = tokenizerTexts(tokenizer, tokenizerFile);

  const generation = await readOptional(join(folder, "generation_config.json"), generationSchema);
  const tokenizerConfig = await readOptional(join(folder, "tokenizer_config.json"), tokenizerConfigSchema);
  const warnings: string[] = [];
  const warn = (sentence: string) => warnings.push(sentence);
  const tokens = specialTokens(config, generation, tokenizerConfig, texts, configFile, warn);
  return {
    config,
    tokens,
    tokenizer,
    chatTemplate: (await readText(join(folder, "chat_template.jinja"))) ?? templateOf(tokenizerConfig),
    sampling: samplingOf(generation, warn),
    licence: licenceOf(await readText(join(folder, "README.md"))),
    warnings,
  };
}

/** @throws ToastError `file_missing` */
async function readTokenizer(folder: string, file: string): Promise<Uint8Array> {
  const others = ["tokenizer.model", "vocab.json", "merges.txt"];
  const found: string[] = [];
  for (const name of others) if ((await readText(join(folder, name))) !== null) found.push(name);
  try {
    return await readNeeded(file);
  } catch (cause) {
    if (found.length === 0) throw cause;
    const message = `${file} is missing; ${found.join(" and ")} alone cannot be read here. AutoTokenizer.from_pretrained("${folder}").save_pretrained("${folder}") of transformers makes it; or take it from a newer copy of the model.`;
    throw new ToastError("file_missing", message, { cause });
  }
}

/** What a generation_config.json says, or nothing without one. */
export interface GenerationConfig {
  readonly sampling: SamplingDefaults;
  readonly eosTokenIds: readonly number[];
}

/** @throws ToastError `invalid_config` */
export async function readGenerationConfig(folder: string): Promise<GenerationConfig> {
  const generation = await readOptional(join(folder, "generation_config.json"), generationSchema);
  return { sampling: samplingOf(generation, () => {}), eosTokenIds: [generation.eos_token_id ?? []].flat() };
}

/** As vLLM reads it: `do_sample` is not asked. What lies outside of what the wire takes is not recommended. */
function samplingOf(generation: z.infer<typeof generationSchema>, warn: (sentence: string) => void): SamplingDefaults {
  const names = Object.keys(samplingDefaultsSchema.shape) as (keyof SamplingDefaults)[];
  const stated = names.flatMap((name) => {
    const value = generation[name];
    if (value === undefined || value === null) return [];
    const parsed = samplingDefaultsSchema.shape[name].safeParse(value);
    if (parsed.success) return [[name, parsed.data]];
    warn(
      `generation_config.json recommends ${name} ${JSON.stringify(value)}, which no request may ask for: it is left out.`,
    );
    return [];
  });
  return Object.fromEntries(stated);
}

/** Text of each token id of a tokenizer.json. @throws ToastError `unsupported_tokenizer` */
export function tokenizerTexts(bytes: Uint8Array, file: string): ReadonlyMap<number, string> {
  return tokenTexts(parseJson(bytes, file, "unsupported_tokenizer"), file);
}

function tokenTexts(json: unknown, file: string): ReadonlyMap<number, string> {
  const parsed = tokenizerSchema.safeParse(json);
  if (!parsed.success) {
    throw new ToastError(
      "unsupported_tokenizer",
      `${file}: no tokenizer with a vocabulary: ${schemaIssue(parsed.error)}.`,
    );
  }
  const { vocab } = parsed.data.model;
  const entries = Array.isArray(vocab)
    ? vocab.map(([text], index) => [index, text] as const)
    : Object.entries(vocab).map(([text, index]) => [index, text] as const);
  // Added tokens last: where both name an id, theirs is the text that is printed.
  return new Map([...entries, ...parsed.data.added_tokens.map((token) => [token.id, token.content] as const)]);
}

/**
 * Folders name their special tokens in up to three places. Generation has to end at any end-of-sequence token that one
 * of them names; of the others there is one, and the file nearest to generation wins.
 */
function specialTokens(
  config: LlamaConfig,
  generation: z.infer<typeof generationSchema>,
  tokenizer: z.infer<typeof tokenizerConfigSchema>,
  texts: ReadonlyMap<number, string>,
  file: string,
  warn: (sentence: string) => void,
): SpecialTokens {
  const idOf = (token: z.infer<typeof tokenText>): number | null => {
    const text = typeof token === "object" ? token?.content : token;
    return [...texts].find(([, candidate]) => candidate === text)?.[0] ?? null;
  };
  const special = (tokenId: number): { id: number; text: string } | null => {
    const text = texts.get(tokenId);
    return text === undefined || tokenId >= config.vocabSize ? null : { id: tokenId, text };
  };
  const outside = `is not among the ${texts.size} tokens of tokenizer.json or not among the model's ${config.vocabSize}`;
  const one = (...candidates: (number | null | undefined)[]) => {
    const found = candidates.find((candidate) => candidate !== null && candidate !== undefined && candidate >= 0);
    return found === undefined || found === null ? null : { tokenId: found, token: special(found) };
  };
  const eosIds = new Set([
    ...[generation.eos_token_id ?? []].flat(),
    ...config.eosTokenIds,
    ...[idOf(tokenizer.eos_token) ?? []].flat(),
  ]);
  if (eosIds.size === 0) {
    throw new ToastError(
      "invalid_config",
      `${file}: neither it nor generation_config.json or tokenizer_config.json names an end-of-sequence token (eos_token_id).`,
    );
  }
  const eos = [...eosIds].flatMap((tokenId) => special(tokenId) ?? []);
  for (const tokenId of eosIds) {
    if (special(tokenId) === null) warn(`The end-of-sequence token ${tokenId} ${outside}: it is left out.`);
  }
  if (eos.length === 0) {
    const ids = [...eosIds].join(", ");
    const message = `${file}, generation_config.json and tokenizer_config.json name no end-of-sequence token that there is: ${ids} ${outside}. Set eos_token_id to one that is.`;
    throw new ToastError("invalid_config", message);
  }
  const bos = one(generation.bos_token_id, config.bosTokenId, idOf(tokenizer.bos_token));
  if (bos !== null && bos.token === null) {
    const message = `The beginning-of-sequence token ${bos.tokenId} (bos_token_id of generation_config.json or ${file}) ${outside}.`;
    throw new ToastError("invalid_config", message);
  }
  // Nothing is ever padded here: a padding token that the model was never resized for does no harm.
  const pad = one(generation.pad_token_id, config.padTokenId, idOf(tokenizer.pad_token));
  return { bos: bos?.token ?? null, eos, pad: pad?.token ?? null };
}

function templateOf({ chat_template: template }: z.infer<typeof tokenizerConfigSchema>): string | null {
  if (!Array.isArray(template)) return template ?? null;
  return template.find(({ name }) => name === "default")?.template ?? null;
}

function licenceOf(modelCard: string | null): string | null {
  const frontMatter = /^---\r?\n(.*?)\r?\n---/s.exec(modelCard ?? "")?.[1] ?? "";
  const value = (name: string) =>
    new RegExp(`^${name}:[ \\t]*(.*)\\r?\\n?((?:[ \\t]*-[ \\t]+.*(?:\\r?\\n|$))*)`, "m").exec(frontMatter);
  const [, inline = "", items = ""] = value("license") ?? [];
  const flow = /^\[(.*)\]$/.exec(inline.trim())?.[1];
  const entries =
    flow?.split(",") ??
    (inline.trim() === "" ? items.split(/\r?\n/).map((item) => item.replace(/^[ \t]*-[ \t]+/, "")) : [inline]);
  const named = entries.map(plainScalar).filter((entry) => entry !== "");
  // The hub's own word for a licence that it does not list; what it is called stands beside it.
  const other = plainScalar(value("license_name")?.[1] ?? "");
  if (named.length === 1 && named[0] === "other" && other !== "") return other;
  return named.length === 0 ? null : named.join(", ");
}

/** A scalar of YAML without its quotes and its comment. */
function plainScalar(text: string): string {
  const trimmed = text.trim();
  const quoted = /^(["'])(.*)\1/.exec(trimmed)?.[2];
  return quoted ?? trimmed.replace(/\s+#.*$/, "");
}

/** @throws ToastError `file_missing` */
export async function readNeeded(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new ToastError("file_missing", `${file} is missing or cannot be read.`, { cause: error });
  }
}

/** @throws ToastError `file_missing`, or `code` when it is no JSON. */
export async function readJson(file: string, code: "invalid_config" | "invalid_adapter"): Promise<unknown> {
  return parseJson(await readNeeded(file), file, code);
}

function parseJson(
  bytes: Uint8Array,
  file: string,
  code: "invalid_config" | "invalid_adapter" | "unsupported_tokenizer",
): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new ToastError(code, `${file} is not valid JSON.`, { cause: error });
  }
}

/** Null when the file is not there. */
async function readText(file: string): Promise<string | null> {
  return readFile(file, "utf8").catch(() => null);
}

/** A folder may lack these files, but what is there has to be right. */
async function readOptional<T extends z.ZodType>(file: string, schema: T): Promise<z.infer<T>> {
  const text = await readText(file);
  const json = text === null ? {} : parseJson(new TextEncoder().encode(text), file, "invalid_config");
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new ToastError("invalid_config", `${file}: ${schemaIssue(parsed.error)}.`);
  return parsed.data;
}
