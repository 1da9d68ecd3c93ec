import { ToastError } from "../../errors.js";

/** What a key may hold, by kind. `integer`: any of the eight integer types. */
interface Values {
  readonly integer: number;
  readonly float: number;
  readonly boolean: boolean;
  readonly string: string;
  readonly integers: readonly number[];
  readonly floats: readonly number[];
  readonly booleans: readonly boolean[];
  readonly strings: readonly string[];
}
type Kind = keyof Values;
export type GgufValue = { readonly [K in Kind]: { readonly kind: K; readonly value: Values[K] } }[Kind];

const kindWords: Readonly<Record<Kind, string>> = {
  integer: "an integer",
  float: "a floating-point number",
  boolean: "true or false",
  string: "a text",
  integers: "a list of integers",
  floats: "a list of floating-point numbers",
  booleans: "a list of true and false",
  strings: "a list of texts",
};

/** The keys of a GGUF file with their values. A key is asked for by the kind of value that it has to hold. */
export class GgufMetadata {
  readonly #values: ReadonlyMap<string, GgufValue>;
  /** Path of the file, for messages. */
  readonly file: string;

  constructor(values: ReadonlyMap<string, GgufValue>, file: string) {
    this.#values = values;
    this.file = file;
  }

  get keys(): Iterable<string> {
    return this.#values.keys();
  }

  /** Every value as it is, without its kind. */
  get plain(): ReadonlyMap<string, unknown> {
    return new Map(Array.from(this.#values, ([key, { value }]) => [key, value]));
  }

  find(key: string): GgufValue | undefined {
    return this.#values.get(key);
  }

  /** The value of a key, or undefined without it. @throws ToastError `invalid_config` when it is of another kind. */
  optional<K extends Kind>(key: string, kind: K): Values[K] | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    if (found.kind !== kind) throw this.invalid(`${key} has to be ${kindWords[kind]}, not ${kindWords[found.kind]}`);
    return found.value as Values[K];
  }

  /** @throws ToastError `invalid_config` without the key, or when its value is of another kind. */
  needed<K extends Kind>(key: string, kind: K): Values[K] {
    const value = this.optional(key, kind);
    if (value === undefined) throw this.invalid(`${key} is missing`);
    return value;
  }

  /** @returns a ToastError `invalid_config` that names the file. */
  invalid(what: string): ToastError {
    return new ToastError("invalid_config", `${this.file}: ${what}.`);
  }
}
