import type { Json } from "../../json-tree.js";
import { choice, type Expression, nothing, repeat, sequence } from "../expression.js";
import type { SchemaContext } from "./context.js";
import { bracketed, comma, items as listOf } from "./json-text.js";
import { count, fail, type Schema } from "./schema.js";
import { uniqueItems } from "./unique-items.js";

/**
 * The arrays that a schema allows. A prefix without `minItems` is meant as a whole, and items behind it are written
 * where `items` says which: both are what writers of tuples mean by it.
 */
export function arrayValue(schema: Schema, path: string, context: SchemaContext): Expression {
  const prefix = schema.get("prefixItems") ?? [];
  if (!Array.isArray(prefix)) fail(path, "has 'prefixItems' that are no list");
  const first = prefix as readonly Json[];
  const min = count(schema, "minItems", path);
  const max = count(schema, "maxItems", path);
  const rest =
    schema.get("items") ?? schema.get("unevaluatedItems") ?? (first.length === 0 || (min ?? 0) > first.length);
  const item = context.named(context.value(rest, `${path}/items`));
  if (schema.get("uniqueItems") === true && (max ?? 2) > 1) {
    const unique = first.length > 0 ? null : uniqueItems(rest, { min: min ?? 0, max }, path, context);
    if (unique !== null) return bracketed("[", unique, "]");
    context.leniency.unsupported(
      path,
      "uses 'uniqueItems' with items that are no strings, numbers, booleans or null, which is not supported",
    );
  }
  if (first.length === 0) return bracketed("[", listOf(item, min ?? 0, max), "]");
  const least = min ?? Math.min(first.length, max ?? first.length);
  const heads = first.map((one, index) => context.value(one, `${path}/prefixItems/${index}`));
  // From the last to the first: what may follow an item.
  const most = max === null ? null : Math.max(0, max - first.length);
  let following = repeat(sequence(comma, item), Math.max(0, least - first.length), most);
  for (const [index, head] of [...heads.entries()].toReversed()) {
    const here = sequence(index === 0 ? nothing : comma, head, following);
    if (max !== null && index >= max) following = index < least ? choice() : nothing;
    else following = context.named(index >= least ? choice(here, nothing) : here);
  }
  return bracketed("[", following, "]");
}
