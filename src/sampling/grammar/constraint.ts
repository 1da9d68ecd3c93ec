/** A piece of JSON with fixed words around it, as a function call has them. */
export interface TaggedJson {
  readonly begin: string;
  /** JSON Schema, as JSON text. */
  readonly schema: string;
  readonly end: string;
  /** The request field that brought the schema, for messages. */
  readonly param: string;
}

/** What generated text has to be. Grammars and schemas travel as text; `param` is the request field at fault when they cannot be used. */
export type OutputConstraint = { readonly param: string } & (
  | /** Any JSON object. */ { readonly kind: "jsonObject" }
  /** JSON that a JSON Schema allows, itself as JSON text. */
  | { readonly kind: "jsonSchema"; readonly schema: string }
  /** The whole text matches. */
  | { readonly kind: "regex"; readonly pattern: string }
  | { readonly kind: "choice"; readonly options: readonly string[] }
  /** A grammar in GBNF or the EBNF of XGrammar, with a rule `root`. */
  | { readonly kind: "grammar"; readonly grammar: string }
  /** Tagged pieces, one at least and eight at most, parted by `separator`, and nothing else. */
  | {
      readonly kind: "tags";
      readonly tags: readonly TaggedJson[];
      readonly separator: string;
      readonly atMost: "one" | "any";
    }
  /** Free text, in which what begins as `trigger` does goes on as one of the tagged pieces. */
  | {
      readonly kind: "textWithTags";
      readonly trigger: string;
      readonly tags: readonly TaggedJson[];
      readonly atMost: "one" | "any";
    }
);
