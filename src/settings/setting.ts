import { resolve } from "node:path";
import type { z } from "zod";

/**
 * One setting as flag, as environment variable and, under the flag's name, in a config file. Parser, `--help` and
 * `--print-config` are made from it.
 */
export interface Setting<Value = unknown, Flag extends string = string> extends Traits {
  readonly flag: Flag;
  /** Null: a switch, which is there or not. */
  readonly placeholder: string | null;
  readonly variable: string;
  /** From a text, in the flag's unit. */
  readonly schema: z.ZodType<unknown, string>;
  readonly fallback: string | Otherwise<Value>;
  /** May be given several times; in the variable, with this between. */
  readonly separator: string | null;
  /** The heading that it stands below in the help. */
  readonly group?: string;
}

interface Traits {
  readonly help: string;
  /** Never printed. */
  readonly secret?: true;
  /** Finds a path of a config file from that file's folder. */
  readonly path?: (value: string, folder: string) => string;
}

/** What holds when nothing is given and a text as the flag takes it cannot say so. */
export interface Otherwise<Value> {
  value(environment: NodeJS.ProcessEnv): Value;
  readonly words: string;
}

export function unset(words: string): Otherwise<null> {
  return { value: () => null, words };
}

export function none(words: string): Otherwise<readonly never[]> {
  return { value: () => [], words };
}

type FlagOf<Words extends string> = Words extends `${infer Flag} <${string}>` ? Flag : Words;

/** @param words the flag and what it takes: `port <number>`. */
export function setting<const Words extends string, Value, Fallback = never>(
  words: Words,
  schema: z.ZodType<Value, string>,
  fallback: string | Otherwise<Fallback>,
  traits: Traits,
): Setting<Value | Fallback, FlagOf<Words>> {
  const [flag = words, placeholder = null] = words.split(/ <|>/);
  const variable = flag.toUpperCase().replaceAll("-", "_");
  return { ...traits, flag: flag as FlagOf<Words>, placeholder, variable, schema, fallback, separator: null };
}

/** A setting that may be given several times; its variable's name is a plural. */
export function list<const Words extends string, Value, Fallback>(
  words: Words,
  schema: z.ZodType<Value, string>,
  fallback: Otherwise<Fallback>,
  { separator, ...traits }: Traits & { readonly separator: string },
): Setting<readonly Value[] | Fallback, FlagOf<Words>> {
  const single = setting<Words, readonly Value[] | Fallback>(words, schema as never, fallback as never, traits);
  return { ...single, variable: `${single.variable}S`, separator };
}

export function group<Settings extends Readonly<Record<string, object>>>(heading: string, settings: Settings) {
  const entries = Object.entries(settings).map(([name, one]) => [name, { ...one, group: heading }]);
  return Object.fromEntries(entries) as Settings;
}

export function fromFolder(value: string, folder: string): string {
  return resolve(folder, value);
}
