import { filterOf, testOf } from "./filters.js";
import { methodOf, percent } from "./methods.js";
import type { Node } from "./nodes.js";
import {
  Callable,
  compare,
  contains,
  type Dict,
  entry,
  equal,
  escaped,
  float,
  hasKey,
  intOf,
  isFloat,
  isNumber,
  itemsOf,
  type Keywords,
  Markup,
  Namespace,
  type Numeric,
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
  WholeFloat,
} from "./values.js";

/** Names and what they stand for; a loop and a macro have one of their own. */
class Scope {
  readonly #names = new Map<string, Value>();
  readonly #parent: Scope | null;

  constructor(parent: Scope | null) {
    this.#parent = parent;
  }

  set(name: string, value: Value): void {
    this.#names.set(name, value);
  }

  get(name: string): Value {
    if (this.#names.has(name)) return this.#names.get(name);
    return this.#parent?.get(name);
  }
}

/** How a body ended: it is done, or a loop around it is to go on or to end. */
type Outcome = "done" | "continue" | "break";

/** @param mostWork see `mostTemplateWork` @throws TemplateError, TooMuchWork */
export function render(program: Node, variables: ReadonlyMap<string, Value>, mostWork: number): string {
  const globals = new Scope(null);
  for (const [name, value] of builtins) globals.set(name, value);
  for (const [name, value] of variables) globals.set(name, value);
  const evaluation = new Evaluation(mostWork);
  evaluation.run(program.body ?? [], new Scope(globals));
  return evaluation.output;
}

/** The name that a scope without a loop has in the syntax tree: see `withScopes`. */
export const scopeName = "__scope__";

/**
 * What a rendering may do, in evaluated nodes; a turn of a loop counts as ten, what is made and looked through by its
 * size. Templates of conversations do some hundred for a message; this much is half a second. It counts work, not time:
 * what is refused is refused on every machine.
 */
export const mostTemplateWork = 2_000_000;
/** Of a value. An item of it, and eight characters, count as one. */
const largestValue = 1 << 20;

/** A rendering has come to the end of the work that it may do. */
export class TooMuchWork extends TemplateError {
  constructor() {
    super("the template does too much: too many messages, or too many turns of its loops");
  }
}

class Evaluation {
  output = "";
  readonly #mostWork: number;
  #work = 0;
  /** Of lists and dicts; values do not change. A part counts wherever it occurs, as it does when it is written. */
  readonly #sizes = new WeakMap<object, number>();

  constructor(mostWork: number) {
    this.#mostWork = mostWork;
  }

  /** @throws TooMuchWork */
  #did(work: number): void {
    this.#work += work;
    if (this.#work > this.#mostWork) throw new TooMuchWork();
  }

  /** @returns what was made, which costs by its size. @throws TemplateError */
  #made(value: Value): Value {
    const isNew = typeof value !== "object" || value === null || !this.#sizes.has(value);
    const size = this.#sizeOf(value);
    requireSize(size);
    this.#did(isNew ? size >> 2 : 0);
    return value;
  }

  #sizeOf(value: Value): number {
    if (typeof value === "string") return 1 + (value.length >> 3);
    if (value instanceof Markup) return this.#sizeOf(value.value);
    if (typeof value !== "object" || value === null) return 1;
    const known = this.#sizes.get(value);
    if (known !== undefined) return known;
    let size = 1;
    if (Array.isArray(value)) for (const item of value as readonly Value[]) size += this.#sizeOf(item);
    else if (value instanceof Map) for (const [key, item] of value) size += this.#sizeOf(key) + this.#sizeOf(item);
    this.#sizes.set(value, size);
    return size;
  }

  run(body: readonly Node[], scope: Scope): Outcome {
    for (const node of body) {
      const outcome = this.#statement(node, scope);
      if (outcome !== "done") return outcome;
    }
    return "done";
  }

  /** What a body writes, instead of writing it. */
  #captured(body: readonly Node[], scope: Scope): string {
    const before = this.output;
    this.output = "";
    this.run(body, scope);
    const written = this.output;
    this.output = before;
    return written;
  }

  #statement(node: Node, scope: Scope): Outcome {
    this.#did(1);
    switch (node.type) {
      case "Comment":
        return "done";
      case "Program":
        return this.run(node.body, scope);
      case "If":
        return this.run(truthy(this.#value(node.test, scope)) ? node.body : node.alternate, scope);
      case "For":
        return this.#loop(node, scope);
      case "Break":
        return "break";
      case "Continue":
        return "continue";
      case "Set": {
        const value = node.value === null ? this.#captured(node.body, scope) : this.#value(node.value, scope);
        this.#assign(node.assignee, value, scope);
        return "done";
      }
      case "Macro":
        scope.set(node.name.value, this.#macro(node.name.value, node.args, node.body, scope));
        return "done";
      case "CallStatement": {
        const caller = this.#macro("caller", node.callerArgs ?? [], node.body, scope);
        const [args, keywords] = this.#arguments(node.call.args, scope);
        this.output += text(
          this.#call(this.#value(node.call.callee, scope), args, new Map([...keywords, ["caller", caller]])),
        );
        return "done";
      }
      case "FilterStatement":
        this.output += text(this.#filtered(this.#captured(node.body, scope), node.filter, scope));
        return "done";
      default:
        this.output += text(this.#value(node, scope));
        requireSize(this.output.length >> 3);
        return "done";
    }
  }

  #assign(target: Node, value: Value, scope: Scope): void {
    switch (target.type) {
      case "Identifier":
        scope.set(target.value, value);
        return;
      case "TupleLiteral": {
        const items = itemsOf(value);
        if (items.length !== target.value.length) {
          throw new TemplateError(`${items.length} values cannot be unpacked into ${target.value.length} names`);
        }
        for (const [at, name] of target.value.entries()) this.#assign(name, items[at], scope);
        return;
      }
      case "MemberExpression": {
        const object = this.#value(target.object, scope);
        if (!(object instanceof Namespace) || target.property.type !== "Identifier") {
          throw new TemplateError("cannot assign attribute on non-namespace object");
        }
        object.attributes.set(target.property.value, value);
        return;
      }
      default:
        throw new TemplateError(`can't assign to ${target.type}`);
    }
  }

  #loop(node: Extract<Node, { type: "For" }>, scope: Scope): Outcome {
    const { loopvar, iterable, body, defaultBlock } = node;
    if (loopvar.type === "Identifier" && loopvar.value === scopeName) return this.run(body, new Scope(scope));
    const isFiltered = iterable.type === "SelectExpression";
    const all = itemsOf(this.#value(isFiltered ? iterable.lhs : iterable, scope));
    const items = isFiltered
      ? all.filter((item) => {
          const own = new Scope(scope);
          this.#assign(loopvar, item, own);
          return truthy(this.#value(iterable.test, own));
        })
      : all;
    if (items.length === 0) return this.run(defaultBlock, new Scope(scope));
    let changed: readonly Value[] | null = null;
    for (const [at, item] of items.entries()) {
      this.#did(10);
      const own = new Scope(scope);
      this.#assign(loopvar, item, own);
      const hasChanged = (values: readonly Value[]): boolean => {
        if (changed !== null && equal(changed, values)) return false;
        changed = values;
        return true;
      };
      own.set("loop", loopObject(items, at, hasChanged));
      if (this.run(body, own) === "break") break;
    }
    return "done";
  }

  #macro(name: string, parameters: readonly Node[], body: readonly Node[], scope: Scope): Callable {
    return new Callable(name, (args, keywords) => {
      const own = new Scope(scope);
      const names = parameters.map((one) => (one.type === "KeywordArgumentExpression" ? one.key.value : nameOf(one)));
      if (args.length > names.length) {
        throw new TemplateError(`macro '${name}' takes not more than ${names.length} argument(s)`);
      }
      for (const [at, parameter] of names.entries()) {
        const declared = parameters[at];
        const given = at < args.length ? args[at] : keywords.get(parameter);
        const isGiven = at < args.length || keywords.has(parameter);
        const fallback = declared?.type === "KeywordArgumentExpression" ? declared.value : null;
        own.set(parameter, isGiven || fallback === null ? given : this.#value(fallback, own));
      }
      const caller = keywords.get("caller");
      if (caller !== undefined) own.set("caller", caller);
      for (const other of keywords.keys()) {
        if (other !== "caller" && !names.includes(other)) {
          throw new TemplateError(`macro '${name}' takes no keyword argument '${other}'`);
        }
      }
      return this.#captured(body, own);
    });
  }

  #arguments(nodes: readonly Node[], scope: Scope): readonly [Value[], Map<string, Value>] {
    const args: Value[] = [];
    const keywords = new Map<string, Value>();
    for (const node of nodes) {
      if (node.type === "KeywordArgumentExpression") keywords.set(node.key.value, this.#value(node.value, scope));
      else if (node.type === "SpreadExpression") args.push(...itemsOf(this.#value(node.argument, scope)));
      else if (node.type === "KeywordSpreadExpression") {
        const spread = this.#value(node.argument, scope);
        if (!(spread instanceof Map)) throw new TemplateError("argument after ** must be a mapping");
        for (const [name, value] of spread) keywords.set(text(name), value);
      } else args.push(this.#value(node, scope));
    }
    return [args, keywords];
  }

  #call(callee: Value, args: readonly Value[], keywords: Keywords): Value {
    if (callee instanceof Callable) return this.#made(callee.call(args, keywords));
    throw new TemplateError(
      callee === undefined ? "what is called is undefined" : `'${typeName(callee)}' object is not callable`,
    );
  }

  #filtered(value: Value, filter: Node, scope: Scope): Value {
    this.#did(this.#sizeOf(value) >> 2);
    if (filter.type === "Identifier") return this.#made(filterOf(filter.value)(value, [], new Map()));
    if (filter.type !== "CallExpression") throw new TemplateError(`${filter.type} is no filter`);
    const [args, keywords] = this.#arguments(filter.args, scope);
    return this.#made(filterOf(nameOf(filter.callee))(value, args, keywords));
  }

  #value(node: Node, scope: Scope): Value {
    this.#did(1);
    switch (node.type) {
      case "Identifier":
        return Object.hasOwn(constants, node.value) ? constants[node.value] : scope.get(node.value);
      case "IntegerLiteral":
        return node.value;
      case "FloatLiteral":
        return float(node.value);
      case "StringLiteral":
        return node.value;
      case "ArrayLiteral":
        return this.#made(node.value.map((item) => this.#value(item, scope)));
      case "TupleLiteral":
        return this.#made(tuple(...node.value.map((item) => this.#value(item, scope))));
      case "ObjectLiteral":
        return this.#made(
          new Map([...node.value].map(([key, item]) => [this.#value(key, scope), this.#value(item, scope)])),
        );
      case "MemberExpression":
        return this.#member(node, scope);
      case "CallExpression": {
        const callee = this.#value(node.callee, scope);
        const [args, keywords] = this.#arguments(node.args, scope);
        return this.#call(callee, args, keywords);
      }
      case "FilterExpression":
        return this.#filtered(this.#value(node.operand, scope), node.filter, scope);
      case "TestExpression":
        return testOf(node.test.value)(this.#value(node.operand, scope), []) !== node.negate;
      case "UnaryExpression":
        return unary(node.operator.value, this.#value(node.argument, scope));
      case "BinaryExpression":
        return this.#binary(node, scope);
      case "Ternary":
        return this.#value(truthy(this.#value(node.condition, scope)) ? node.trueExpr : node.falseExpr, scope);
      case "SelectExpression":
        return truthy(this.#value(node.test, scope)) ? this.#value(node.lhs, scope) : undefined;
      default:
        throw new TemplateError(`${node.type} has no value`);
    }
  }

  #member({ object: of, property, computed }: Extract<Node, { type: "MemberExpression" }>, scope: Scope): Value {
    const object = this.#value(of, scope);
    if (computed && property.type === "SliceExpression") {
      const bound = (node: Node | undefined): number | null => {
        const value = node === undefined ? null : this.#value(node, scope);
        return value === null ? null : intOf(value, "slice indices");
      };
      return this.#made(sliced(object, bound(property.start), bound(property.stop), bound(property.step)));
    }
    const key = !computed && property.type === "Identifier" ? property.value : this.#value(property, scope);
    if (object === undefined) throw new TemplateError(`${described(of)} is undefined and has no ${repr(key)}`);
    if (typeof object === "string") this.#did(object.length >> 5);
    // Not `??`: None is a value like any other.
    const [first, second] = computed ? [item, attributeOf] : [attributeOf, item];
    const found = first(object, key);
    return found === undefined ? second(object, key) : found;
  }

  #binary(
    { operator: { value: operator }, left: l, right: r }: Extract<Node, { type: "BinaryExpression" }>,
    scope: Scope,
  ): Value {
    const left = this.#value(l, scope);
    if (operator === "and") return truthy(left) ? this.#value(r, scope) : left;
    if (operator === "or") return truthy(left) ? left : this.#value(r, scope);
    const right = this.#value(r, scope);
    switch (operator) {
      case "==":
      case "!=":
      case "in":
      case "not in":
        this.#did(Math.max(this.#sizeOf(left), this.#sizeOf(right)) >> 2);
    }
    switch (operator) {
      case "==":
        return equal(left, right);
      case "!=":
        return !equal(left, right);
      case "~":
        return this.#made(text(left) + text(right));
      case "in":
        return contains(right, left);
      case "not in":
        return !contains(right, left);
      case "<":
        return compare(left, right) < 0;
      case "<=":
        return compare(left, right) <= 0;
      case ">":
        return compare(left, right) > 0;
      case ">=":
        return compare(left, right) >= 0;
      default:
        if (left === undefined || right === undefined) {
          throw new TemplateError(
            `${described(left === undefined ? l : r)} is undefined and cannot be used with ${operator}`,
          );
        }
        return this.#made(arithmetic(operator, left, right));
    }
  }
}

/** @throws TemplateError */
function requireSize(size: number): void {
  if (size <= largestValue) return;
  const most = `${largestValue} items, and a text ${8 * largestValue} characters`;
  throw new TemplateError(`a value is too large: a list may have ${most}`);
}

function nameOf(node: Node): string {
  if (node.type === "Identifier") return node.value;
  throw new TemplateError(`${node.type} is no name`);
}

/** How an expression reads, for messages. */
function described(node: Node): string {
  if (node.type === "Identifier") return `'${node.value}'`;
  if (node.type !== "MemberExpression" || node.property.type !== "Identifier") return "a value";
  return `${described(node.object)}.${node.property.value}`;
}

function attributeOf(object: Value, key: Value): Value {
  if (typeof key !== "string") return undefined;
  if (object instanceof Namespace) return object.attributes.get(key);
  if (object instanceof Callable) return object.attributes.get(key)?.();
  return methodOf(object, key);
}

function item(object: Value, key: Value): Value {
  if (object instanceof Map) return hasKey(object, key) ? entry(object, key) : undefined;
  if (!isNumber(key) || isFloat(key)) return undefined;
  if (typeof object === "string") return [...object].at(numberOf(key));
  return Array.isArray(object) ? (object as readonly Value[]).at(numberOf(key)) : undefined;
}

function sliced(object: Value, start: number | null, stop: number | null, step: number | null): Value {
  const items = typeof object === "string" ? [...object] : Array.isArray(object) ? (object as readonly Value[]) : null;
  if (object === undefined) throw new TemplateError("what is sliced is undefined");
  if (items === null) throw new TemplateError(`'${typeName(object)}' object is not subscriptable`);
  const by = step ?? 1;
  if (by === 0) throw new TemplateError("slice step cannot be zero");
  const { length } = items;
  const [lowest, highest] = by > 0 ? [0, length] : [-1, length - 1];
  const place = (at: number | null, other: number): number =>
    at === null ? other : Math.min(Math.max(at < 0 ? at + length : at, lowest), highest);
  const [from, to] = [place(start, by > 0 ? 0 : length - 1), place(stop, by > 0 ? length : -1)];
  const kept: Value[] = [];
  for (let at = from; by > 0 ? at < to : at > to; at += by) kept.push(items[at]);
  if (typeof object === "string") return kept.map(text).join("");
  return object instanceof Tuple ? tuple(...kept) : kept;
}

function unary(operator: string, value: Value): Value {
  if (operator === "not") return !truthy(value);
  if (!isNumber(value)) throw new TemplateError(`bad operand type for unary ${operator}: '${typeName(value)}'`);
  if (typeof value === "bigint") return operator === "-" ? -value : value;
  const number = operator === "-" ? -numberOf(value) : numberOf(value);
  return isFloat(value) ? new WholeFloat(number) : number;
}

/** @throws TemplateError */
function arithmetic(operator: string, left: Value, right: Value): Value {
  if (operator === "+" && (left instanceof Markup || right instanceof Markup)) {
    const isText = [left, right].every((one) => typeof plain(one) === "string");
    if (isText) return new Markup(escaped(left) + escaped(right));
  }
  if (operator === "%" && typeof left === "string") return percent(left, right);
  if (isNumber(left) && isNumber(right)) return calculated(operator, left, right);
  if (operator === "+") {
    if (typeof left === "string" && typeof right === "string") return left + right;
    if (left instanceof Tuple && right instanceof Tuple) return tuple(...left, ...right);
    if (Array.isArray(left) && Array.isArray(right)) return [...(left as Value[]), ...(right as Value[])];
  }
  if (operator === "*") {
    const [sequence, times] = isNumber(left) ? [right, left] : [left, right];
    const isText = typeof sequence === "string";
    if (isNumber(times) && (isText || Array.isArray(sequence))) {
      const count = Math.max(0, intOf(times, "count"));
      // Before it is made: there may be no room to make it.
      requireSize((sequence.length * count) / (isText ? 8 : 1));
      if (isText) return sequence.repeat(count);
      return Array.from({ length: count }, () => sequence as readonly Value[]).flat();
    }
  }
  throw new TemplateError(`unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`);
}

function calculated(operator: string, left: Numeric, right: Numeric): Value {
  const [a, b] = [numberOf(left), numberOf(right)];
  const kept = (value: number): Value => (isFloat(left) || isFloat(right) ? float(value) : value);
  if (["/", "//", "%"].includes(operator) && b === 0) throw new TemplateError("division by zero");
  switch (operator) {
    case "+":
      return kept(a + b);
    case "-":
      return kept(a - b);
    case "*":
      return kept(a * b);
    case "/":
      return float(a / b);
    case "//":
      return kept(Math.floor(a / b));
    case "%":
      return kept(a - b * Math.floor(a / b));
    case "**":
      return b < 0 ? float(a ** b) : kept(a ** b);
    default:
      throw new TemplateError(`there is no operator ${operator}`);
  }
}

function loopObject(items: readonly Value[], at: number, hasChanged: (values: readonly Value[]) => boolean): Callable {
  const { length } = items;
  const facts: Readonly<Record<string, () => Value>> = {
    index: () => at + 1,
    index0: () => at,
    revindex: () => length - at,
    revindex0: () => length - at - 1,
    first: () => at === 0,
    last: () => at === length - 1,
    length: () => length,
    depth: () => 1,
    depth0: () => 0,
    previtem: () => (at === 0 ? undefined : items[at - 1]),
    nextitem: () => items[at + 1],
    cycle: () => new Callable("cycle", (args) => args[at % args.length]),
    changed: () => new Callable("changed", (args) => hasChanged(args)),
  };
  const refuse = (): never => {
    throw new TemplateError("recursive loops are not supported");
  };
  return new Callable("loop", refuse, new Map(Object.entries(facts)));
}

const constants: Readonly<Record<string, Value>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
};

/** The sandbox of transformers lets no range be longer. */
const longestRange = 100_000;

function dictOf(args: readonly Value[], keywords: Keywords): Dict {
  const [source] = args;
  const given: Dict = new Map();
  if (source instanceof Map) for (const [key, value] of source) given.set(key, value);
  else if (source !== undefined) {
    for (const pair of itemsOf(source)) {
      const [key, value] = itemsOf(pair);
      given.set(key, value);
    }
  }
  for (const [key, value] of keywords) given.set(key, value);
  return given;
}

const builtins: ReadonlyMap<string, Value> = new Map<string, Value>(
  Object.entries({
    range: (args: readonly Value[]): Value => {
      const [first = 0, second, third] = args.map((value) => intOf(value, "range() arguments"));
      const [from, to, by] = [second === undefined ? 0 : first, second ?? first, third ?? 1];
      if (by === 0) throw new TemplateError("range() arg 3 must not be zero");
      const count = Math.max(0, Math.ceil((to - from) / by));
      if (count > longestRange) throw new TemplateError(`range too big: at most ${longestRange} items`);
      return Array.from({ length: count }, (_, at) => from + at * by);
    },
    dict: dictOf,
    namespace: (args: readonly Value[], keywords: Keywords): Value => {
      const created = new Namespace();
      for (const [key, value] of dictOf(args, keywords)) created.attributes.set(text(key), value);
      return created;
    },
    joiner: ([separator = ", "]: readonly Value[]): Value => {
      let isUsed = false;
      return new Callable("joiner", () => {
        if (isUsed) return separator;
        isUsed = true;
        return "";
      });
    },
    cycler: (items: readonly Value[]): Value => {
      let at = 0;
      const facts = new Map<string, () => Value>([
        ["current", () => items[at]],
        [
          "next",
          () =>
            new Callable("next", () => {
              const current = items[at];
              at = (at + 1) % items.length;
              return current;
            }),
        ],
        [
          "reset",
          () =>
            new Callable("reset", () => {
              at = 0;
              return null;
            }),
        ],
      ]);
      return new Callable("cycler", () => items[at], facts);
    },
  }).map(([name, call]) => [name, new Callable(name, call)]),
);
