import type { Json } from "../../json-tree.js";
import { isSchema, type Leniency } from "./schema.js";

/** Of schemas that say none. */
const noBase = "schema:/";

/** Resolves references within one document: JSON pointers, `$anchor`s, and `$id`s of schemas that stand in it. */
export class References {
  /** By absolute URI. */
  readonly #schemas = new Map<string, Json>();
  readonly #bases = new Map<Json, string>();

  readonly #leniency: Leniency;

  /** @param leniency what becomes of a reference to nothing: where it is passed over, any value may stand. */
  constructor(root: Json, leniency: Leniency) {
    this.#leniency = leniency;
    this.#schemas.set(noBase, root);
    this.#index(root, noBase);
  }

  /**
   * @param from the schema with the reference.
   * @throws ToastError `invalid_request` for a reference out of the document, or to nothing in it
   */
  resolve(reference: string, from: Json, path: string): Json {
    const nothing = (problem: string): Json => {
      this.#leniency.unsupported(path, `refers to '${reference.slice(0, 80)}', ${problem}`);
      return true;
    };
    const key = absolute(reference, this.#bases.get(from) ?? noBase);
    if (key === null) return nothing("which is no reference");
    const named = this.#schemas.get(key) ?? this.#schemas.get(key.replace(/#$/, ""));
    if (named !== undefined) return named;
    const [resource = "", fragment = ""] = key.split("#");
    const root = this.#schemas.get(resource);
    if (root === undefined) return nothing("outside the schema");
    const target = fragment.startsWith("/") ? pointed(root, fragment) : undefined;
    return target ?? nothing("which the schema does not have");
  }

  #index(value: Json, base: string): void {
    if (Array.isArray(value)) for (const item of value as readonly Json[]) this.#index(item, base);
    if (!isSchema(value)) return;
    const id = value.get("$id") ?? value.get("id");
    const own = (typeof id === "string" ? absolute(id, base) : null)?.replace(/#$/, "") ?? base;
    if (own !== base) this.#schemas.set(own, value);
    this.#bases.set(value, own);
    const anchor = value.get("$anchor");
    if (typeof anchor === "string") this.#schemas.set(`${own}#${anchor}`, value);
    for (const member of value.values()) this.#index(member, own);
  }
}

function absolute(reference: string, base: string): string | null {
  try {
    return new URL(reference, base).href;
  } catch {
    return null;
  }
}

function pointed(root: Json, pointer: string): Json | undefined {
  let target: Json | undefined = root;
  for (const part of pointer.split("/").slice(1)) {
    const key = decoded(part).replaceAll("~1", "/").replaceAll("~0", "~");
    if (isSchema(target)) target = target.get(key);
    else target = Array.isArray(target) && /^\d+$/.test(key) ? (target as readonly Json[])[Number(key)] : undefined;
  }
  return target;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
