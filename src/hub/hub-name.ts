import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { ToastError } from "../errors.js";
import { isSafePath } from "./repo-file.js";

/** `org/name`, `org/name@revision`, `org/name/file.gguf`, `org/name/file.gguf@revision`. */
export interface HubName {
  /** `org/name` */
  readonly repo: string;
  /** The part that a model is served under, unless it is told otherwise. */
  readonly name: string;
  /** A branch, a tag, a commit, or `refs/pr/1`. */
  readonly revision: string;
  /** One GGUF file of the repository, as its path there or by its quantization; null: not said. */
  readonly file: string | null;
}

export const defaultRevision = "main";

const longestRepo = 96;
const longestRevision = 250;
/** What people copy from an address bar or know from other tools. */
const prefix = /^(?:https?:\/\/)?(?:www\.)?(?:huggingface\.co|hf\.co)\/|^hf:\/\//;
const segment = "[A-Za-z0-9_](?:[\\w.-]*[A-Za-z0-9_])?";
const pattern = new RegExp(`^(${segment})/(${segment})(?:/([^@]+\\.gguf))?(?:@(.+))?$`, "i");

/** Null when the word cannot name a repository of a hub. */
export function readHubName(word: string): HubName | null {
  const [, org, name, file = null, revision = defaultRevision] = pattern.exec(word.replace(prefix, "")) ?? [];
  if (org === undefined || name === undefined) return null;
  const repo = `${org}/${name}`;
  if (repo.length > longestRepo || /--|\.\./.test(repo) || name.endsWith(".git")) return null;
  if (!isRevision(revision) || (file !== null && !isSafePath(file))) return null;
  return { repo, name, revision, file };
}

/** @throws ToastError `invalid_option` */
export function parseHubName(word: string): HubName {
  const name = readHubName(word);
  if (name !== null) return name;
  const message = `'${word}' is no name of a model on a hub: it must be org/name, with @revision behind it for a branch, a tag or a commit; letters, digits, '.', '_' and '-', ${longestRepo} characters at most.`;
  throw new ToastError("invalid_option", message);
}

/** As somebody would write it. */
export function formatHubName({ repo, revision, file }: HubName): string {
  return `${repo}${file === null ? "" : `/${file}`}${revision === defaultRevision ? "" : `@${revision}`}`;
}

/**
 * What `--model` may be: a path, made absolute from `folder`, or a hub's name, which is left as it is. A path that
 * exists wins.
 */
export function pathOrHubName(word: string, folder = "."): string {
  const path = resolve(folder, word);
  return existsSync(path) || readHubName(word) === null ? path : word;
}

/** Stricter than git: it also goes into a path, and it must not be mistaken for an option of an address. */
function isRevision(text: string): boolean {
  return text.length <= longestRevision && /^\w[\w./+-]*$/.test(text) && !/\.\.|\/\/|\/\.|[./]$|\.lock$/.test(text);
}
