import { ToastError } from "../errors.js";
import type { FileEntry } from "./repo-file.js";
import { formatBytes } from "./transfer.js";

/** What of a repository is needed to serve it. */
export type FileChoice<File extends FileEntry> =
  | {
      readonly kind: "safetensors";
      /** What stands beside the weights; small. */
      readonly descriptions: readonly File[];
      /** It names the weights; null: they are `weights`. */
      readonly index: File | null;
      readonly weights: readonly File[];
    }
  | {
      readonly kind: "gguf";
      readonly descriptions: readonly File[];
      /** All parts of it, the first one first. */
      readonly weights: readonly File[];
    };

const needed = ["config.json", "tokenizer.json"];
const descriptionNames: ReadonlySet<string> = new Set([
  ...needed,
  "generation_config.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
]);
const licencePattern = /^(README|LICEN[CS]E|NOTICE|USE_POLICY)(\.(md|txt))?$/i;
const pickles = /\.(bin|pt|pth|ckpt|pkl|pickle)$/i;
/** Beside a model, not one: vision parts and measurements for quantizing. */
const noModel = /mmproj|imatrix/i;
const partPattern = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/**
 * The files that serving needs, and no others: above all no pickles, which run code when they are read.
 * @param repo for sentences.
 * @param wanted a GGUF file by its path, its name, or its quantization (`Q4_K_M`); null: safetensors, else the only
 *   GGUF.
 * @throws ToastError `repository_unsuitable` when there is nothing that can be served or several GGUF files and no
 *   choice, `repository_not_found` when the wanted file is not there.
 */
export function chooseFiles<File extends FileEntry>(
  repo: string,
  files: readonly File[],
  wanted: string | null,
): FileChoice<File> {
  const ggufs = ggufModels(files);
  if (wanted !== null) return gguf(files, findGguf(repo, ggufs, wanted), repo);
  const index = files.find(({ path }) => path === "model.safetensors.index.json");
  const single = files.find(({ path }) => path === "model.safetensors");
  const hasConfig = files.some(({ path }) => path === "config.json");
  if (hasConfig && (index !== undefined || single !== undefined)) {
    const missing = needed.find((name) => !files.some(({ path }) => path === name));
    if (missing !== undefined && ggufs.length === 0) throw new ToastError("repository_unsuitable", noTokenizer(repo));
    if (missing === undefined) {
      const descriptions = files.filter(({ path }) => descriptionNames.has(path) || licencePattern.test(path));
      if (index !== undefined) return { kind: "safetensors", descriptions, index, weights: [] };
      return { kind: "safetensors", descriptions, index: null, weights: single === undefined ? [] : [single] };
    }
  }
  const [only, ...others] = ggufs;
  if (only === undefined) throw new ToastError("repository_unsuitable", nothingToServe(repo, files));
  if (others.length > 0) throw new ToastError("repository_unsuitable", severalGgufs(repo, ggufs));
  return gguf(files, only, repo);
}

/**
 * The weights that an index names.
 * @throws ToastError `repository_unsuitable` for an index that is none, or names files that are not there.
 */
export function weightsOfIndex<File extends FileEntry>(
  repo: string,
  indexText: string,
  files: readonly File[],
): readonly File[] {
  const names = new Set(shardNames(indexText));
  if (names.size === 0) {
    throw new ToastError("repository_unsuitable", `model.safetensors.index.json of ${repo} names no weights.`);
  }
  return [...names].sort().map((name) => {
    const file = files.find(({ path }) => path === name);
    if (file !== undefined && name.endsWith(".safetensors") && !name.includes("/")) return file;
    const sentence = `model.safetensors.index.json of ${repo} names ${JSON.stringify(name)}, which is no safetensors file beside it.`;
    throw new ToastError("repository_unsuitable", sentence);
  });
}

function shardNames(text: string): readonly string[] {
  try {
    const { weight_map: map } = JSON.parse(text) as { weight_map?: unknown };
    return Object.values((map ?? {}) as object).map(String);
  } catch {
    return [];
  }
}

interface GgufModel<File> {
  /** Of its first part. */
  readonly path: string;
  readonly bytes: number;
  readonly parts: readonly File[];
  /** How many there should be. */
  readonly count: number;
}

/** Parts of one file are one model. */
function ggufModels<File extends FileEntry>(files: readonly File[]): readonly GgufModel<File>[] {
  const models = new Map<string, { parts: File[]; count: number }>();
  for (const file of files) {
    if (!file.path.toLowerCase().endsWith(".gguf") || noModel.test(file.path)) continue;
    const [, stem, , count] = partPattern.exec(file.path) ?? [];
    const key = stem === undefined ? file.path : `${stem}-of-${count}`;
    const model = models.get(key) ?? { parts: [], count: Number(count ?? 1) };
    model.parts.push(file);
    models.set(key, model);
  }
  return [...models.values()].map(({ parts, count }) => {
    const sorted = parts.toSorted((a, b) => (a.path < b.path ? -1 : 1));
    return {
      path: sorted[0]?.path ?? "",
      bytes: sorted.reduce((sum, part) => sum + part.bytes, 0),
      parts: sorted,
      count,
    };
  });
}

function findGguf<File extends FileEntry>(
  repo: string,
  models: readonly GgufModel<File>[],
  wanted: string,
): GgufModel<File> {
  const word = wanted.toLowerCase();
  const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1).toLowerCase();
  const tests: readonly ((model: GgufModel<File>) => boolean)[] = [
    ({ parts }) => parts.some(({ path }) => path === wanted),
    ({ parts }) => parts.some(({ path }) => nameOf(path) === word),
    ({ path }) => new RegExp(`[-._]${escapePattern(word)}(-\\d{5}-of-\\d{5})?\\.gguf$`).test(nameOf(path)),
  ];
  for (const test of tests) {
    const [found, ...others] = models.filter(test);
    if (found !== undefined && others.length === 0) return found;
  }
  const list = models.length === 0 ? "It has no GGUF file." : `It has:\n${listOf(models)}`;
  throw new ToastError("repository_not_found", `${repo} has no single GGUF file that '${wanted}' means. ${list}`);
}

function gguf<File extends FileEntry>(
  files: readonly File[],
  { path, parts, count }: GgufModel<File>,
  repo: string,
): FileChoice<File> {
  if (parts.length !== count) {
    const sentence = `${path} of ${repo} should come in ${count} parts, of which ${parts.length} are there.`;
    throw new ToastError("repository_unsuitable", sentence);
  }
  return { kind: "gguf", descriptions: files.filter((file) => licencePattern.test(file.path)), weights: parts };
}

function severalGgufs(repo: string, models: readonly GgufModel<FileEntry>[]): string {
  const example = models.find(({ path }) => /Q4_K_M|Q8_0/i.test(path))?.path ?? models[0]?.path;
  return `${repo} has ${models.length} GGUF files; say which:
${listOf(models)}
for example: toast-serve pull ${repo} ${example}
         or: toast-serve serve --model ${repo}/${example}`;
}

function listOf(models: readonly GgufModel<FileEntry>[]): string {
  const shown = models.slice(0, 60);
  const longest = Math.max(...shown.map(({ path }) => path.length));
  const lines = shown.map(({ path, bytes, count }) => {
    const parts = count === 1 ? "" : `  in ${count} parts`;
    return `  ${path.padEnd(longest)}  ${formatBytes(bytes).padStart(8)}${parts}`;
  });
  return [...lines, ...(models.length > shown.length ? [`  … and ${models.length - shown.length} more`] : [])].join(
    "\n",
  );
}

function nothingToServe(repo: string, files: readonly FileEntry[]): string {
  const weights = files.filter(({ path }) => pickles.test(path)).map(({ path }) => path);
  if (weights.length > 0) {
    const named = weights.length > 3 ? `${weights.slice(0, 3).join(", ")} …` : weights.join(", ");
    return `${repo} has its weights as pickles only (${named}). Reading one can run any code, so they are never downloaded: look for a safetensors or GGUF copy of this model, or make one (save_pretrained of transformers writes safetensors) and convert that folder.`;
  }
  const adapter = files.some(({ path }) => path === "adapter_config.json")
    ? " It is an adapter: merge it into its base first."
    : "";
  return `${repo} has nothing that can be served: neither config.json with model.safetensors (or its index) nor a GGUF file.${adapter}`;
}

function noTokenizer(repo: string): string {
  return `${repo} has no tokenizer.json. Look for a copy of the model that has one, or make it: AutoTokenizer.from_pretrained("${repo}").save_pretrained(folder) of transformers writes it; then put the weights beside it and convert that folder.`;
}

function escapePattern(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
