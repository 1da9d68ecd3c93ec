/** A piece of JSON with fixed words around it, as a function call has them. */
export interface TaggedJson {
  readonly begin: string;
  /** JSON Schema, as JSON text. */
  readonly schema: string;
  /** Whether a keyword of the schema that cannot be kept is refused; it is passed over, else. */
  readonly isStrict: boolean;
  readonly end: string;
  /** The request field that brought the schema, for messages. */
  readonly param: string;
}

/** Tagged pieces, one at least, parted by `separator`, and nothing else. */
interface Tags {
  readonly kind: "tags";
  readonly tags: readonly TaggedJson[];
  readonly separator: string;
  readonly atMost: "one" | "any";
}

/**
 * What generated text has to be. Grammars and schemas travel as text; `param` is the request field at fault when they
 * cannot be used.
 */
export type OutputConstraint = { readonly param: string } & (
  | /** Any JSON object. */ { readonly kind: "jsonObject" }
  /** JSON that a JSON Schema allows, itself as JSON text. */
  | { readonly kind: "jsonSchema"; readonly schema: string }
  /** The whole text matches. */
  | { readonly kind: "regex"; readonly pattern: string }
  | { readonly kind: "choice"; readonly options: readonly string[] }
  /** A grammar in GBNF, with a rule `root`. */
  | { readonly kind: "grammar"; readonly grammar: string }
  | Tags
  /** Free text, in which what begins as `trigger` does goes on as one of the tagged pieces. */
  | {
      readonly kind: "textWithTags";
      readonly trigger: string;
      readonly tags: readonly TaggedJson[];
      readonly atMost: "one" | "any";
    }
  /** Tagged pieces, or a text of the other constraint. */
  | { readonly kind: "tagsOr"; readonly tags: Tags & { readonly param: string }; readonly other: OutputConstraint }
);
