import { capitalized, methodOf, percent as percentOf, stripped, titled } from "./methods.js";
import {
  Callable,
  compare,
  contains,
  entry,
  equal,
  escaped,
  float,
  Iterated,
  intOf,
  isFloat,
  isNumber,
  itemsOf,
  type Keywords,
  lengthOf,
  Markup,
  Namespace,
  numberOf,
  plain,
  TemplateError,
  type Tuple,
  text,
  toJson,
  truthy,
  tuple,
  typeName,
  type Value,
} from "./values.js";

type Filter = (value: Value, args: readonly Value[], keywords: Keywords) => Value;

/** What is given by place or by name. */
function argument(args: readonly Value[], keywords: Keywords, at: number, name: string): Value {
  return at < args.length ? args[at] : keywords.get(name);
}

/** `a.b` and `a.0` of an item; what is not there is undefined. */
function attribute(value: Value, path: Value): Value {
  if (typeof path === "number") return memberOf(value, path);
  return text(path)
    .split(".")
    .reduce<Value>((of, part) => memberOf(of, /^\d+$/.test(part) ? Number(part) : part), value);
}

function memberOf(value: Value, key: Value): Value {
  if (value instanceof Map) return entry(value, key);
  if (value instanceof Namespace) return value.attributes.get(text(key));
  return Array.isArray(value) && typeof key === "number" ? (value as readonly Value[]).at(key) : undefined;
}

/** What an item is judged or ordered by. */
function key(args: readonly Value[], keywords: Keywords, at: number): (item: Value) => Value {
  const path = argument(args, keywords, at, "attribute");
  const isCased = truthy(argument(args, keywords, at === 2 ? 1 : 0, "case_sensitive"));
  return (item) => {
    const value = path == null ? item : attribute(item, path);
    return typeof value === "string" && !isCased ? value.toLowerCase() : value;
  };
}

function sorted(items: readonly Value[], keyOf: (item: Value) => Value, isReversed: boolean): Value[] {
  const order = [...items].sort((a, b) => compare(keyOf(a), keyOf(b)) * (isReversed ? -1 : 1));
  return order;
}

/** None is a default like any other. */
function defaultValue(args: readonly Value[], keywords: Keywords): Value {
  return args.length > 0 || keywords.has("default_value") ? argument(args, keywords, 0, "default_value") : "";
}

function defaulted(value: Value, other: Value): Value {
  return value === undefined ? other : value;
}

function iterated(items: readonly Value[]): Iterated {
  return new Iterated(() => items);
}

const chosen =
  (wanted: boolean, of: "item" | "attribute"): Filter =>
  (value, args) => {
    const [path, rest] = of === "attribute" ? [args[0], args.slice(1)] : [null, args];
    const [test, ...others] = rest;
    const judged = (item: Value): boolean => {
      const subject = path == null ? item : attribute(item, path);
      return test === undefined ? truthy(subject) : testOf(text(test))(subject, others);
    };
    return new Iterated(() => (truthy(value) ? itemsOf(value).filter((item) => judged(item) === wanted) : []));
  };

const extreme =
  (sign: 1 | -1): Filter =>
  (value, args, keywords) => {
    const keyOf = key(args, keywords, 1);
    return itemsOf(value).reduce<Value>(
      (best, item) => (best === undefined || compare(keyOf(item), keyOf(best)) * sign > 0 ? item : best),
      undefined,
    );
  };

function indented(value: string, width: Value, first: boolean, blankLines: boolean): string {
  const by = typeof width === "string" ? width : " ".repeat(intOf(width, "width"));
  const lines = value.split("\n");
  return lines.map((line, at) => ((at > 0 || first) && (line !== "" || blankLines) ? by + line : line)).join("\n");
}

function number(value: Value, other: Value, make: (value: number) => Value): Value {
  if (isNumber(value)) return make(numberOf(value));
  const parsed =
    typeof value === "string" && value.trim() !== "" ? Number(value.trim().replaceAll("_", "")) : Number.NaN;
  return Number.isNaN(parsed) ? other : make(parsed);
}

/** To an even neighbour where both are as near, as Python rounds. */
function rounded(value: number, digits: number): number {
  const scale = 10 ** digits;
  const scaled = value * scale;
  const floor = Math.floor(scaled);
  const isHalf = scaled - floor === 0.5;
  return (isHalf ? floor + (floor & 1) : Math.round(scaled)) / scale;
}

const filters: Readonly<Record<string, Filter>> = {
  abs: (value) => (isFloat(value) ? float(Math.abs(numberOf(value as number))) : Math.abs(intOf(value, "abs"))),
  attr: (value, [name]) => memberOf(value, name),
  batch: (value, args, keywords) => {
    const size = intOf(argument(args, keywords, 0, "linecount"), "linecount");
    const fill = argument(args, keywords, 1, "fill_with");
    const items = itemsOf(value);
    const rows: Value[][] = [];
    for (let at = 0; at < items.length; at += size) rows.push(items.slice(at, at + size));
    const last = rows.at(-1);
    while (last !== undefined && fill != null && last.length < size) last.push(fill);
    return iterated(rows);
  },
  capitalize: (value) => capitalized(text(value)),
  center: (value, [width = 80]) => methodOf(text(value), "center")?.call([width], new Map()),
  count: lengthOf,
  length: lengthOf,
  default: (value, args, keywords) => {
    const isFalsy = truthy(argument(args, keywords, 1, "boolean")) && !truthy(value);
    return value === undefined || isFalsy ? defaultValue(args, keywords) : value;
  },
  dictsort: (value, args, keywords) => {
    const by = argument(args, keywords, 1, "by") === "value" ? 1 : 0;
    const isCased = truthy(argument(args, keywords, 0, "case_sensitive"));
    const pairs = value instanceof Map ? [...value].map(([name, item]) => tuple(name, item)) : itemsOf(value);
    const keyOf = (pair: Value): Value => {
      const part = (pair as Tuple)[by];
      return typeof part === "string" && !isCased ? part.toLowerCase() : part;
    };
    return sorted(pairs, keyOf, truthy(argument(args, keywords, 2, "reverse")));
  },
  escape: (value) => new Markup(escaped(value)),
  forceescape: (value) => new Markup(escaped(text(value))),
  first: (value) => itemsOf(value)[0],
  last: (value) => itemsOf(value).at(-1),
  float: (value, args, keywords) => number(value, argument(args, keywords, 0, "default") ?? float(0), float),
  format: (value, args) => {
    const [first] = args;
    return percentOf(text(value), args.length === 1 && first instanceof Map ? first : tuple(...args));
  },
  groupby: (value, args, keywords) => {
    const path = argument(args, keywords, 0, "attribute");
    const groups: { key: Value; items: Value[] }[] = [];
    for (const item of sorted(itemsOf(value), (one) => attribute(one, path), false)) {
      const of = attribute(item, path);
      const last = groups.at(-1);
      if (last !== undefined && equal(last.key, of)) last.items.push(item);
      else groups.push({ key: of, items: [item] });
    }
    return groups.map((group) => tuple(group.key, group.items));
  },
  indent: (value, args, keywords) =>
    indented(
      text(value),
      argument(args, keywords, 0, "width") ?? 4,
      truthy(argument(args, keywords, 1, "first")),
      truthy(argument(args, keywords, 2, "blank")),
    ),
  int: (value, args, keywords) => number(value, argument(args, keywords, 0, "default") ?? 0, Math.trunc),
  items: (value) => {
    if (value === undefined) return [];
    if (value instanceof Map) return [...value].map(([name, item]) => tuple(name, item));
    throw new TemplateError("Can only get item pairs from a mapping.");
  },
  join: (value, args, keywords) => {
    const path = argument(args, keywords, 1, "attribute");
    const items = itemsOf(value).map((item) => (path == null ? item : attribute(item, path)));
    return items.map(text).join(text(argument(args, keywords, 0, "d") ?? ""));
  },
  list: (value) => [...itemsOf(value)],
  lower: (value) => text(value).toLowerCase(),
  map: (value, args, keywords) => {
    const path = keywords.get("attribute");
    const other = keywords.get("default");
    const over = (make: (item: Value) => Value) => new Iterated(() => (truthy(value) ? itemsOf(value).map(make) : []));
    if (path != null) return over((item) => defaulted(attribute(item, path), other));
    const [name, ...rest] = args;
    if (name === undefined) throw new TemplateError("map requires a filter argument");
    const filter = filterOf(text(name));
    return over((item) => filter(item, rest, keywords));
  },
  max: extreme(1),
  min: extreme(-1),
  reject: chosen(false, "item"),
  rejectattr: chosen(false, "attribute"),
  select: chosen(true, "item"),
  selectattr: chosen(true, "attribute"),
  replace: (value, args, keywords) =>
    methodOf(text(value), "replace")?.call(
      [
        text(argument(args, keywords, 0, "old")),
        text(argument(args, keywords, 1, "new")),
        argument(args, keywords, 2, "count") ?? -1,
      ],
      new Map(),
    ),
  reverse: (value) =>
    typeof value === "string" ? [...value].reverse().join("") : iterated([...itemsOf(value)].reverse()),
  round: (value, args, keywords) => {
    if (!isNumber(value)) throw new TemplateError(`type ${typeName(value)} doesn't define __round__ method`);
    const digits = intOf(argument(args, keywords, 0, "precision") ?? 0, "precision");
    const how = argument(args, keywords, 1, "method") ?? "common";
    const scale = 10 ** digits;
    const of = numberOf(value);
    if (how === "common") return isFloat(value) ? float(rounded(of, digits)) : rounded(of, digits);
    return float((how === "ceil" ? Math.ceil(of * scale) : Math.floor(of * scale)) / scale);
  },
  safe: (value) => new Markup(text(value)),
  slice: (value, args, keywords) => {
    const items = itemsOf(value);
    const count = intOf(argument(args, keywords, 0, "slices"), "slices");
    const fill = argument(args, keywords, 1, "fill_with");
    const [least, longer] = [Math.floor(items.length / count), items.length % count];
    let from = 0;
    return iterated(
      Array.from({ length: count }, (_, at) => {
        const part = items.slice(from, from + least + (at < longer ? 1 : 0));
        from += part.length;
        return fill != null && at >= longer && longer > 0 ? [...part, fill] : part;
      }),
    );
  },
  sort: (value, args, keywords) =>
    sorted(itemsOf(value), key(args, keywords, 2), truthy(argument(args, keywords, 0, "reverse"))),
  string: text,
  sum: (value, args, keywords) => {
    const path = argument(args, keywords, 0, "attribute");
    const start = argument(args, keywords, 1, "start") ?? 0;
    const items = itemsOf(value).map((item) => (path == null ? item : attribute(item, path)));
    const all = [start, ...items];
    for (const item of all) {
      if (!isNumber(item)) throw new TemplateError(`unsupported operand type(s) for +: 'int' and '${typeName(item)}'`);
    }
    const total = all.reduce<number>((sum, item) => sum + numberOf(item as number), 0);
    return all.some(isFloat) ? float(total) : total;
  },
  title: (value) => titled(text(value)),
  tojson: (value, args, keywords) => {
    const ensureAscii = argument(args, keywords, 0, "ensure_ascii");
    const indent = argument(args, keywords, 1, "indent") ?? null;
    const separators = argument(args, keywords, 2, "separators");
    const [between, behind] = separators == null ? [] : itemsOf(separators);
    return toJson(value, {
      indent: indent === null ? null : intOf(indent, "indent"),
      ensureAscii: truthy(ensureAscii),
      separators: [text(between ?? (indent === null ? ", " : ",")), text(behind ?? ": ")],
      sortKeys: truthy(argument(args, keywords, 3, "sort_keys")),
    });
  },
  trim: (value, args, keywords) => {
    const set = argument(args, keywords, 0, "chars");
    return stripped(text(value), "both", set == null ? null : text(set));
  },
  truncate: (value, args, keywords) => {
    const length = intOf(argument(args, keywords, 0, "length") ?? 255, "length");
    const end = text(argument(args, keywords, 2, "end") ?? "...");
    const leeway = intOf(argument(args, keywords, 3, "leeway") ?? 5, "leeway");
    const characters = [...text(value)];
    if (characters.length <= length + leeway) return text(value);
    const kept = characters.slice(0, length - [...end].length).join("");
    if (truthy(argument(args, keywords, 1, "killwords"))) return kept + end;
    const space = kept.lastIndexOf(" ");
    return (space === -1 ? kept : kept.slice(0, space)) + end;
  },
  unique: (value, args, keywords) => {
    const keyOf = key(args, keywords, 1);
    const seen: Value[] = [];
    return iterated(
      itemsOf(value).filter((item) => {
        const of = keyOf(item);
        if (seen.some((known) => equal(known, of))) return false;
        seen.push(of);
        return true;
      }),
    );
  },
  upper: (value) => text(value).toUpperCase(),
  urlencode: (value) => {
    if (value instanceof Map)
      return [...value].map((pair) => pair.map((one) => quotedUrl(text(one), "")).join("=")).join("&");
    return quotedUrl(text(value), "/");
  },
  wordcount: (value) => text(value).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0,
};

function quotedUrl(value: string, safe: string): string {
  const bytes = [...Buffer.from(value, "utf8")];
  return bytes
    .map((byte) => {
      const character = String.fromCharCode(byte);
      const stays = /[A-Za-z0-9_.~-]/.test(character) || (safe !== "" && safe.includes(character));
      return stays ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
}

const aliases: Readonly<Record<string, string>> = { d: "default", e: "escape" };

/**
 * A filter; a test with arguments is one, too, `is__divisibleby` say: see `plainSource`.
 * @throws TemplateError where there is none of that name
 */
export function filterOf(name: string): Filter {
  const test = /^is(_not)?__(\w+)$/.exec(name);
  if (test !== null) {
    const judge = testOf(test[2] ?? "");
    return (value, args) => judge(value, args) !== (test[1] !== undefined);
  }
  const known = Object.hasOwn(aliases, name) ? (aliases[name] ?? name) : name;
  const filter = Object.hasOwn(filters, known) ? filters[known] : undefined;
  if (filter === undefined) throw new TemplateError(`No filter named '${name}'.`);
  return filter;
}

function hasFilter(name: string): boolean {
  return Object.hasOwn(filters, name) || Object.hasOwn(aliases, name);
}

type Test = (value: Value, args: readonly Value[]) => boolean;

const tests: Readonly<Record<string, Test>> = {
  boolean: (value) => typeof value === "boolean",
  callable: (value) => value instanceof Callable,
  defined: (value) => value !== undefined,
  undefined: (value) => value === undefined,
  divisibleby: (value, [by]) => intOf(value, "value") % intOf(by, "num") === 0,
  even: (value) => intOf(value, "value") % 2 === 0,
  odd: (value) => intOf(value, "value") % 2 !== 0,
  eq: (value, [other]) => equal(value, other),
  ne: (value, [other]) => !equal(value, other),
  lt: (value, [other]) => compare(value, other) < 0,
  le: (value, [other]) => compare(value, other) <= 0,
  gt: (value, [other]) => compare(value, other) > 0,
  ge: (value, [other]) => compare(value, other) >= 0,
  false: (value) => value === false,
  true: (value) => value === true,
  filter: (value) => hasFilter(text(value)),
  test: (value) => Object.hasOwn(tests, text(value)),
  float: isFloat,
  integer: (value) => typeof value === "number" && Number.isInteger(value),
  number: isNumber,
  in: (value, [container]) => contains(container, value),
  iterable: (value) =>
    value === undefined ||
    typeof plain(value) === "string" ||
    Array.isArray(value) ||
    value instanceof Map ||
    value instanceof Iterated,
  sequence: (value) =>
    value === undefined || typeof plain(value) === "string" || Array.isArray(value) || value instanceof Map,
  mapping: (value) => value instanceof Map,
  none: (value) => value === null,
  sameas: (value, [other]) => value === other,
  string: (value) => typeof plain(value) === "string",
  lower: (value) => text(value) !== text(value).toUpperCase() && text(value) === text(value).toLowerCase(),
  upper: (value) => text(value) !== text(value).toLowerCase() && text(value) === text(value).toUpperCase(),
};

const testAliases: Readonly<Record<string, string>> = {
  equalto: "eq",
  "==": "eq",
  "!=": "ne",
  "<": "lt",
  lessthan: "lt",
  "<=": "le",
  ">": "gt",
  greaterthan: "gt",
  ">=": "ge",
};

/** @throws TemplateError where there is none of that name */
export function testOf(name: string): Test {
  const known = Object.hasOwn(testAliases, name) ? (testAliases[name] ?? name) : name;
  const test = Object.hasOwn(tests, known) ? tests[known] : undefined;
  if (test === undefined) throw new TemplateError(`No test named '${name}'.`);
  return test;
}
