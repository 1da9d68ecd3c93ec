import { join } from "node:path";
import { vocabularyOf } from "../../engine/thread/grammar-queue.js";
import type { OutputConstraint } from "../../grammar/constraint.js";
import { GrammarCompiler } from "../../grammar/grammar-compiler.js";
import type { CompiledConstraint } from "../../grammar/matcher.js";
import { unpackVocabulary, type Vocabulary } from "../../grammar/vocabulary.js";
import type { ModelFolder } from "../../model/model-folder.js";
import { Tokenizer } from "../../text/tokenizer.js";
import { inRounds } from "./rounds.js";
import { median } from "./statistics.js";

/** What binding an answer to a grammar costs the sampler, without any forward. */
export interface MaskSpeed {
  readonly grammar: string;
  readonly vocabulary: number;
  /** Of the text that was followed. */
  readonly tokens: number;
  /** Milliseconds until a grammar that is new can be followed. */
  readonly compileMs: number;
  /** Microseconds a token of the first text in a grammar: mask, logits, and the step to the next place. */
  readonly firstUs: { readonly median: number; readonly worst: number };
  /** Of a second text that comes to the same places. */
  readonly againUs: { readonly median: number; readonly worst: number };
}

type Unnamed<Constraint> = Constraint extends OutputConstraint ? Omit<Constraint, "param"> : never;

interface Subject {
  readonly grammar: string;
  readonly constraint: Unnamed<OutputConstraint>;
  readonly text: string;
}

const person = {
  type: "object",
  properties: {
    name: { type: "string" },
    age: { type: "integer", minimum: 0, maximum: 150 },
    email: { type: "string", format: "email" },
    role: { enum: ["admin", "author", "reader"] },
    tags: { type: "array", items: { type: "string", maxLength: 30 }, maxItems: 8 },
  },
  required: ["name", "age", "email", "role", "tags"],
  additionalProperties: false,
};
const prose =
  "The old harbour lies quiet in the morning; two boats come in, a third goes out, and nobody counts the gulls. ";

/** Kinds of answers, each with a text that it allows. */
const subjects: readonly Subject[] = [
  {
    grammar: "any JSON object",
    constraint: { kind: "jsonObject" },
    text: `{"city": "Oslo", "inhabitants": 717710, "districts": [{"name": "Frogner", "old": true}, {"name": "Sagene", "old": false}], "note": "${prose}", "height": -1.25e3}`,
  },
  {
    grammar: "a schema of five properties",
    constraint: { kind: "jsonSchema", schema: JSON.stringify(person) },
    text: '{"name": "Ann Lee", "age": 37, "email": "ann.lee@example.com", "role": "author", "tags": ["harbours", "gulls and boats", "morning"]}',
  },
  {
    grammar: "a schema of one long string",
    constraint: {
      kind: "jsonSchema",
      schema: '{"type":"object","properties":{"note":{"type":"string"}},"required":["note"]}',
    },
    text: `{"note": "${prose.repeat(4)}"}`,
  },
  {
    grammar: "a string of 1,000 characters at most",
    constraint: {
      kind: "jsonSchema",
      schema: '{"type":"object","properties":{"note":{"type":"string","maxLength":1000}},"required":["note"]}',
    },
    text: `{"note": "${prose.repeat(4)}"}`,
  },
  {
    grammar: "a regular expression",
    constraint: { kind: "regex", pattern: "([A-Z][a-z]{1,20} [0-9]{1,4}\\n){1,40}" },
    text: "Oslo 717\nBergen 291\nStavanger 149\nTromsoe 77\n",
  },
];

/**
 * Follows a text of each grammar as the sampler does, new grammars each round. In this process, in this thread: the
 * engine's is the same code.
 */
export async function measureMasks(
  folder: ModelFolder,
  rounds: number,
  onRun: (fraction: number) => void,
): Promise<readonly MaskSpeed[]> {
  const tokenizer = await Tokenizer.fromFile(join(folder.path, folder.manifest.files.tokenizer.name));
  const vocabulary = vocabularyOf(tokenizer, folder.manifest);
  const compiler = new GrammarCompiler(vocabulary);
  const idsOf = longestTokens(vocabulary);
  const logits = new Float32Array(vocabulary.ends.length);
  const measure = async ({ constraint, text }: Subject, round: number) => {
    // Under another name it is another grammar: none is kept of it.
    const named = { ...constraint, param: `round ${round}` } as OutputConstraint;
    const ids = idsOf(text);
    const begun = performance.now();
    const compiled = compiler.compile(named);
    const compileMs = performance.now() - begun;
    return { compileMs, first: follow(compiled, ids, logits), again: follow(compiled, ids, logits) };
  };
  const results = await inRounds(rounds, subjects, measure, onRun);
  return results.map(({ case: { grammar }, values }) => ({
    grammar,
    vocabulary: vocabulary.ends.length,
    tokens: values[0]?.first.length ?? 0,
    compileMs: median(values.map(({ compileMs }) => compileMs)),
    firstUs: summary(values.map(({ first }) => first)),
    againUs: summary(values.map(({ again }) => again)),
  }));
}

/** Spells a text in the longest tokens: a tokenizer might put a space in front, which no grammar here allows. */
function longestTokens(vocabulary: Vocabulary): (text: string) => readonly number[] {
  const tokens = unpackVocabulary(vocabulary).map((bytes) => Buffer.from(bytes).toString("latin1"));
  const idOf = new Map(tokens.map((token, id) => [token, id]));
  const longest = tokens.reduce((most, { length }) => Math.max(most, length), 0);
  return (text) => {
    const ids: number[] = [];
    for (let rest = Buffer.from(text).toString("latin1"); rest !== ""; ) {
      let length = Math.min(longest, rest.length);
      while (length > 0 && !idOf.has(rest.slice(0, length))) length--;
      const id = idOf.get(rest.slice(0, length));
      if (length === 0 || id === undefined) throw new Error("The vocabulary has no token for a byte of the text.");
      ids.push(id);
      rest = rest.slice(length);
    }
    return ids;
  };
}

/** @returns microseconds of each token. */
function follow(compiled: CompiledConstraint, ids: readonly number[], logits: Float32Array): readonly number[] {
  const matcher = compiled.matcher();
  const times = ids.map((id) => {
    logits.fill(0);
    const begun = performance.now();
    matcher.apply(logits);
    matcher.append(id);
    const { isComplete } = matcher;
    const took = 1000 * (performance.now() - begun);
    if (isComplete && id !== ids.at(-1)) throw new Error("The text of a bench ended before its end.");
    return took;
  });
  matcher.dispose();
  return times;
}

function summary(rounds: readonly (readonly number[])[]): MaskSpeed["firstUs"] {
  return {
    median: median(rounds.map(median)),
    worst: median(rounds.map((times) => Math.max(...times))),
  };
}
