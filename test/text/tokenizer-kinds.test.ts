import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { Tokenizer } from "../../src/text/tokenizer.js";

/** What scripts/write_tokenizer_kinds.py wrote. */
interface Reference {
  readonly texts: readonly string[];
  readonly kinds: Readonly<
    Record<
      string,
      { readonly tokenizer: object; readonly ids: readonly (readonly number[])[]; readonly around: number[] }
    >
  >;
}

const file = new URL("../tiny/tokenizer-kinds.json.gz", import.meta.url);
const { texts, kinds } = JSON.parse(gunzipSync(readFileSync(file)).toString()) as Reference;

describe("every text has the ids of the Python library with a tokenizer of the kind", () => {
  it.each(Object.entries(kinds))("%s", (_, { tokenizer, ids, around }) => {
    const ours = Tokenizer.fromJson(JSON.stringify(tokenizer), "tokenizer.json");
    expect(texts.map((text) => [text, ours.encode(text, { addSpecialTokens: false })])).toEqual(
      texts.map((text, at) => [text, ids[at]]),
    );
    expect(ours.encode("x", { addSpecialTokens: true })).toEqual(around);
  });
});
