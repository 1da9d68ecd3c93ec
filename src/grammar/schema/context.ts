import type { Json } from "../../json-tree.js";
import type { Expression } from "../expression.js";
import type { Leniency, Schema } from "./schema.js";

/** What the converters of the single types need of the whole. */
export interface SchemaContext {
  readonly leniency: Leniency;
  /** The values of a schema within the schema. */
  value(schema: Json, path: string): Expression;
  /** A schema with its references and `allOf`s written out. */
  flat(schema: Json, path: string): Schema | boolean;
  /** An expression that is used in several places, as a rule. */
  named(expression: Expression): Expression;
}
