import {
  Callable,
  entry,
  equal,
  floatText,
  hasKey,
  intOf,
  isFloat,
  isNumber,
  itemsOf,
  type Keywords,
  numberOf,
  plain,
  repr,
  TemplateError,
  Tuple,
  text,
  truthy,
  tuple,
  typeName,
  type Value,
} from "./values.js";

type Method<Self> = (self: Self, args: readonly Value[], keywords: Keywords) => Value;

/** What Python counts as blank, as a class of a regular expression. */
const blank = "\\s\\u001c-\\u001f\\u0085";

/** Where Python's `splitlines` parts lines. */
const lineBreak = "\\n\\r\\v\\f\\u001c-\\u001e\\u0085\\u2028\\u2029";
const lineEnds = new RegExp(`\\r\\n|[${lineBreak}]`, "g");

function words(value: Value, what: string): string {
  if (typeof value === "string") return value;
  throw new TemplateError(`${what} must be str, not ${typeName(value)}`);
}

/** @param ends which of them. @param set characters to take off; null: blanks. */
export function stripped(value: string, ends: "both" | "left" | "right", set: string | null): string {
  const inside = set === null ? null : new Set([...set]);
  const isBlank = new RegExp(`[${blank}]`);
  const goes = (character: string): boolean => (inside === null ? isBlank.test(character) : inside.has(character));
  const characters = [...value];
  let from = 0;
  let to = characters.length;
  if (ends !== "right") while (from < to && goes(characters[from] ?? "")) from++;
  if (ends !== "left") while (to > from && goes(characters[to - 1] ?? "")) to--;
  return characters.slice(from, to).join("");
}

const strip =
  (ends: "both" | "left" | "right"): Method<string> =>
  (self, [set]) =>
    stripped(self, ends, set == null ? null : words(set, "strip arg"));

function split(self: string, separator: Value, most: number): string[] {
  if (separator == null) {
    const rest = stripped(self, "left", null);
    if (rest === "") return [];
    const parts = rest.split(new RegExp(`[${blank}]+`));
    if (most < 0 || parts.length - 1 <= most) return parts.filter((part) => part !== "");
    const head = rest.match(new RegExp(`^(?:[^${blank}]+[${blank}]+){${most}}`))?.[0] ?? "";
    return [...parts.slice(0, most), rest.slice(head.length)];
  }
  const by = words(separator, "separator");
  if (by === "") throw new TemplateError("empty separator");
  const parts = self.split(by);
  return most < 0 || parts.length - 1 <= most ? parts : [...parts.slice(0, most), parts.slice(most).join(by)];
}

function rsplit(self: string, separator: Value, most: number): string[] {
  const reversed = (value: string): string => [...value].reverse().join("");
  const by = separator == null ? separator : reversed(words(separator, "separator"));
  return split(reversed(self), by, most).map(reversed).reverse();
}

const starts =
  (where: "startsWith" | "endsWith"): Method<string> =>
  (self, [given]) =>
    (given instanceof Tuple ? given : [given]).some((one) => self[where](words(one, `${where.toLowerCase()} arg`)));

function found(self: string, part: Value, how: "indexOf" | "lastIndexOf", from: Value): number {
  const units = from == null ? 0 : [...self].slice(0, intOf(from, "start")).join("").length;
  const at = how === "indexOf" ? self.indexOf(words(part, "arg"), units) : self.lastIndexOf(words(part, "arg"));
  return at < units ? -1 : [...self.slice(0, at)].length;
}

function replaced(self: string, from: string, to: string, most: number): string {
  if (most < 0) return from === "" ? between(self, to) : self.replaceAll(from, () => to);
  let left = most;
  return self.split(from).reduce((sum, part) => sum + (left-- > 0 ? to : from) + part);
}

function between(self: string, to: string): string {
  return to + [...self].map((character) => character + to).join("");
}

const allOf =
  (pattern: RegExp): Method<string> =>
  (self) =>
    self !== "" && pattern.test(self);

const padded =
  (where: "left" | "right" | "both"): Method<string> =>
  (self, [width, fill = " "]) => {
    const missing = Math.max(0, intOf(width, "width") - [...self].length);
    // Python's `center` gives the odd blank to the left where the width is odd.
    const before =
      where === "right" ? missing : where === "left" ? 0 : Math.floor(missing / 2) + (missing & intOf(width, "") & 1);
    const by = words(fill, "fill");
    return by.repeat(before) + self + by.repeat(missing - before);
  };

const titled = (self: string): string =>
  self.replace(/\p{L}+/gu, (word) => {
    const [first = "", ...rest] = [...word];
    return first.toUpperCase() + rest.join("").toLowerCase();
  });

const capitalized = (self: string): string => {
  const [first = "", ...rest] = [...self];
  return first.toUpperCase() + rest.join("").toLowerCase();
};

const stringMethods: Readonly<Record<string, Method<string>>> = {
  upper: (self) => self.toUpperCase(),
  lower: (self) => self.toLowerCase(),
  casefold: (self) => self.toLowerCase().replaceAll("ß", "ss"),
  swapcase: (self) => [...self].map((c) => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase())).join(""),
  title: titled,
  capitalize: capitalized,
  strip: strip("both"),
  lstrip: strip("left"),
  rstrip: strip("right"),
  split: (self, [by, most], keywords) =>
    split(self, by ?? keywords.get("sep"), intOf(most ?? keywords.get("maxsplit") ?? -1, "maxsplit")),
  rsplit: (self, [by, most], keywords) =>
    rsplit(self, by ?? keywords.get("sep"), intOf(most ?? keywords.get("maxsplit") ?? -1, "maxsplit")),
  splitlines: (self, [keep], keywords) => {
    const keeps = truthy(keep ?? keywords.get("keepends"));
    const lines: string[] = [];
    let from = 0;
    for (const { 0: end, index } of self.matchAll(lineEnds)) {
      lines.push(self.slice(from, keeps ? index + end.length : index));
      from = index + end.length;
    }
    return from < self.length ? [...lines, self.slice(from)] : lines;
  },
  startswith: starts("startsWith"),
  endswith: starts("endsWith"),
  removeprefix: (self, [part]) => {
    const prefix = words(part, "prefix");
    return self.startsWith(prefix) ? self.slice(prefix.length) : self;
  },
  removesuffix: (self, [part]) => {
    const suffix = words(part, "suffix");
    return suffix !== "" && self.endsWith(suffix) ? self.slice(0, -suffix.length) : self;
  },
  replace: (self, [from, to, most], keywords) =>
    replaced(
      self,
      words(from, "replace() argument 1"),
      words(to, "replace() argument 2"),
      intOf(most ?? keywords.get("count") ?? -1, "count"),
    ),
  find: (self, [part, from]) => found(self, part, "indexOf", from),
  rfind: (self, [part]) => found(self, part, "lastIndexOf", null),
  index: (self, [part]) => {
    const at = found(self, part, "indexOf", null);
    if (at < 0) throw new TemplateError("substring not found");
    return at;
  },
  count: (self, [part]) => (part === "" ? [...self].length + 1 : self.split(words(part, "arg")).length - 1),
  join: (self, [items]) =>
    itemsOf(items)
      .map((item, at) => words(item, `sequence item ${at}`))
      .join(self),
  partition: (self, [by]) => {
    const separator = words(by, "separator");
    const at = self.indexOf(separator);
    if (at < 0) return tuple(self, "", "");
    return tuple(self.slice(0, at), separator, self.slice(at + separator.length));
  },
  rpartition: (self, [by]) => {
    const separator = words(by, "separator");
    const at = self.lastIndexOf(separator);
    if (at < 0) return tuple("", "", self);
    return tuple(self.slice(0, at), separator, self.slice(at + separator.length));
  },
  zfill: (self, [width]) => {
    const sign = /^[+-]/.exec(self)?.[0] ?? "";
    const digits = self.slice(sign.length);
    return sign + digits.padStart(intOf(width, "width") - sign.length, "0");
  },
  ljust: padded("left"),
  rjust: padded("right"),
  center: padded("both"),
  isdigit: allOf(/^[\p{Nd}²³¹⁰⁴-⁹₀-₉]+$/u),
  isdecimal: allOf(/^\p{Nd}+$/u),
  isnumeric: allOf(/^\p{N}+$/u),
  isalpha: allOf(/^\p{L}+$/u),
  isalnum: allOf(/^[\p{L}\p{N}]+$/u),
  isspace: allOf(new RegExp(`^[${blank}]+$`)),
  isupper: (self) => self !== self.toLowerCase() && self === self.toUpperCase(),
  islower: (self) => self !== self.toUpperCase() && self === self.toLowerCase(),
  format: (self, args, keywords) => formatted(self, args, keywords),
};

/** `str.format` without nested fields. */
function formatted(self: string, args: readonly Value[], keywords: Keywords): string {
  let next = 0;
  return self.replace(/\{\{|\}\}|\{([^{}:!]*)(?:!([rs]))?(?::([^{}]*))?\}/g, (whole, name: string, how, spec) => {
    if (whole === "{{") return "{";
    if (whole === "}}") return "}";
    const key = name === "" ? String(next++) : name;
    const value = /^\d+$/.test(key) ? args[Number(key)] : keywords.get(key);
    if (value === undefined) throw new TemplateError(`'${key}' is not among the arguments of format()`);
    if (how === "r") return repr(value);
    return spec === undefined || spec === "" ? text(value) : aligned(value, spec as string);
  });
}

/** A format specification: fill, alignment, sign, width, precision, kind. */
function aligned(value: Value, spec: string): string {
  const match = /^(?:(.)?([<>^]))?([+-]?)(0?)(\d*)(?:\.(\d+))?([a-zA-Z]?)$/u.exec(spec);
  if (match === null) throw new TemplateError(`Invalid format specifier '${spec}'`);
  const [, fill = " ", align = isNumber(value) ? ">" : "<", sign, zero, width, digits, kind] = match;
  const precision = digits === undefined ? "" : `.${digits}`;
  const isPlain = kind === "" && digits === undefined;
  const written = isPlain
    ? text(value)
    : percent(`%${sign}${precision}${kind === "" ? (isNumber(value) ? "g" : "s") : kind}`, value);
  const missing = Math.max(0, Number(width) - [...written].length);
  if (zero === "0") return "0".repeat(missing) + written;
  const before = align === ">" ? missing : align === "^" ? Math.floor(missing / 2) : 0;
  return fill.repeat(before) + written + fill.repeat(missing - before);
}

/** To an even last digit where a number lies exactly between two, as Python writes it. */
function fixed(value: number, digits: number): string {
  const scaled = Math.abs(value) * 10 ** digits;
  const floor = Math.floor(scaled);
  const isBetween = scaled - floor === 0.5 && scaled / 10 ** digits === Math.abs(value);
  return (isBetween && floor % 2 === 0 ? (Math.sign(value) * floor) / 10 ** digits : value).toFixed(digits);
}

/** Python's `%` operator on a text. @throws TemplateError */
export function percent(pattern: string, given: Value): string {
  const args = given instanceof Tuple ? [...given] : [given];
  let next = 0;
  return pattern.replace(
    /%(?:\((\w+)\))?([-+ 0#]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])/g,
    (_, key: string | undefined, flags: string, width = "0", digits: string | undefined, kind: string) => {
      if (kind === "%") return "%";
      const value = key === undefined ? args[next++] : given instanceof Map ? entry(given, key) : undefined;
      if (value === undefined && next > args.length) throw new TemplateError("not enough arguments for format string");
      const written = converted(value, kind, digits === undefined ? null : Number(digits));
      const signed = flags.includes("+") && isNumber(value) && !written.startsWith("-") ? `+${written}` : written;
      if (flags.includes("-")) return signed.padEnd(Number(width));
      if (!flags.includes("0") || !isNumber(value)) return signed.padStart(Number(width));
      const sign = /^[+-]/.exec(signed)?.[0] ?? "";
      return sign + signed.slice(sign.length).padStart(Number(width) - sign.length, "0");
    },
  );
}

function converted(value: Value, kind: string, digits: number | null): string {
  if (kind === "s") return digits === null ? text(value) : [...text(value)].slice(0, digits).join("");
  if (kind === "r") return repr(value);
  if (!isNumber(value)) throw new TemplateError(`%${kind} format: a real number is required, not ${typeName(value)}`);
  const number = numberOf(value);
  switch (kind) {
    case "d":
    case "i":
      return String(Math.trunc(number));
    case "f":
    case "F":
      return fixed(number, digits ?? 6);
    case "x":
      return Math.trunc(number).toString(16);
    case "X":
      return Math.trunc(number).toString(16).toUpperCase();
    case "o":
      return Math.trunc(number).toString(8);
    case "e":
      return number.toExponential(digits ?? 6).replace(/e([+-])(\d)$/, "e$10$2");
    case "g":
      return isFloat(value) ? floatText(Number(number.toPrecision(digits ?? 6))).replace(/\.0$/, "") : String(number);
    default:
      throw new TemplateError(`unsupported format character '${kind}'`);
  }
}

const listMethods: Readonly<Record<string, Method<readonly Value[]>>> = {
  index: (self, [item]) => {
    const at = self.findIndex((one) => equal(one, item));
    if (at < 0) throw new TemplateError(`${repr(item)} is not in list`);
    return at;
  },
  count: (self, [item]) => self.filter((one) => equal(one, item)).length,
};

const dictMethods: Readonly<Record<string, Method<Map<Value, Value>>>> = {
  items: (self) => [...self].map(([key, item]) => tuple(key, item)),
  keys: (self) => [...self.keys()],
  values: (self) => [...self.values()],
  get: (self, [key, other = null]) => (hasKey(self, key) ? entry(self, key) : other),
  copy: (self) => new Map(self),
};

/** What would change a value: transformers renders in a sandbox that lets no template do so. */
const changing = new Set(
  "append extend insert remove pop clear sort reverse update setdefault popitem add discard".split(" "),
);

/** @returns a bound method; undefined where there is none of that name. */
export function methodOf(of: Value, name: string): Callable | undefined {
  const self = plain(of);
  const bound = <Self>(value: Self, method: Method<Self> | undefined): Callable | undefined =>
    method === undefined ? undefined : new Callable(name, (args, keywords) => method(value, args, keywords));
  if (typeof self === "string") return bound(self, own(stringMethods, name));
  const isContainer = Array.isArray(self) || self instanceof Map;
  if (isContainer && changing.has(name)) {
    return new Callable(name, () => {
      throw new TemplateError(`a template may not change a ${typeName(self)}: '${name}' is not safely callable`);
    });
  }
  if (Array.isArray(self)) return bound(self as readonly Value[], own(listMethods, name));
  return self instanceof Map ? bound(self, own(dictMethods, name)) : undefined;
}

function own<Kept>(record: Readonly<Record<string, Kept>>, name: string): Kept | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

export { capitalized, titled };
