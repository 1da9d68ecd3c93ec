import { AddedTokens } from "./added-tokens.js";
import { type Normalizer, normalizerOf } from "./normalizer.js";
import { type PreTokenizer, preTokenizerOf } from "./pre-tokenizer.js";
import type { AddedTokenSpecification, ModelSpecification, TokenizerSpecification } from "./specification.js";
import { type Surrounding, surroundingOf } from "./surrounding.js";
import { BPE } from "./vendor.js";

/**
 * A text to ids, in the order of the Python library: tokens that stand in the text as they are written; what lies
 * between is normalized; tokens that stand in that; what is left is parted and spelled in the vocabulary's pieces. The
 * vendor does the last, and translates patterns; the rest is done here, because its own way departs from the library's
 * where tokens are single words, have blanks on a side, or are normalized, where a split is no isolation, and in what
 * is a blank, a digit or a letter.
 */
export class Encoder {
  readonly #written: AddedTokens;
  readonly #normalized: AddedTokens;
  readonly #normalize: Normalizer | null;
  readonly #part: PreTokenizer | null;
  readonly #spell: (piece: string) => readonly number[];
  readonly #surrounding: Surrounding;

  /** @throws Error with what is not supported */
  constructor(specification: TokenizerSpecification) {
    const tokens = (specification.added_tokens ?? []).filter(({ content }) => content !== "");
    checkIds(tokens, specification.model);
    this.#normalize = normalizerOf(specification.normalizer);
    this.#written = new AddedTokens(
      tokens.filter((token) => !isNormalized(token)),
      null,
    );
    this.#normalized = new AddedTokens(tokens.filter(isNormalized), this.#normalize);
    this.#part = preTokenizerOf(specification.pre_tokenizer);
    this.#spell = spellerOf(specification.model);
    this.#surrounding = surroundingOf(specification.post_processor);
  }

  /** @param addsSpecialTokens whether the tokenizer's own stand around the text */
  encode(text: string, addsSpecialTokens: boolean): number[] {
    const ids: number[] = addsSpecialTokens ? [...this.#surrounding.before] : [];
    for (const written of this.#written.split(text)) {
      if (written.kind === "token") ids.push(written.id);
      else this.#encodeText(written.text, written.start === 0, ids);
    }
    if (addsSpecialTokens) ids.push(...this.#surrounding.behind);
    return ids;
  }

  #encodeText(text: string, isFirst: boolean, ids: number[]): void {
    if (text === "") return;
    for (const section of this.#normalized.split(this.#normalize?.(text) ?? text)) {
      if (section.kind === "token") ids.push(section.id);
      else if (section.text !== "") {
        const pieces = this.#part?.(section.text, isFirst && section.start === 0) ?? [section.text];
        for (const piece of pieces) for (const id of this.#spell(piece)) ids.push(id);
      }
    }
  }
}

/** The Python library's default: special tokens are looked for as they are written, others in the normalized text. */
function isNormalized({ normalized, special }: AddedTokenSpecification): boolean {
  return normalized ?? special !== true;
}

/** The Python library numbers added tokens by their order, whatever a file says. @throws Error where they differ */
function checkIds(tokens: readonly AddedTokenSpecification[], { vocab }: ModelSpecification): void {
  const size = Object.keys(vocab).length;
  let highest = -1;
  for (const { content, id } of tokens) {
    const counted = Object.hasOwn(vocab, content) ? (vocab[content] as number) : Math.max(size, highest + 1);
    if (counted !== id) {
      throw new Error(`its added token '${content}' has the id ${id} and would get ${counted} by its place`);
    }
    highest = Math.max(highest, id);
  }
}

/** @throws Error for a model that would not be spelled exactly */
function spellerOf(model: ModelSpecification): (piece: string) => readonly number[] {
  if ((model.dropout ?? 0) !== 0) throw new Error("its model drops merges by chance ('dropout')");
  for (const affix of ["continuing_subword_prefix", "end_of_word_suffix"] as const) {
    if ((model[affix] ?? "") !== "") throw new Error(`its model has '${affix}', which is not supported`);
  }
  const bpe = new BPE(model);
  const ids = new Map(Object.entries(model.vocab));
  const unknown = model.unk_token == null ? null : (ids.get(model.unk_token) ?? null);
  const fuses = model.fuse_unk === true;
  return (piece) => {
    const spelled: number[] = [];
    for (const token of bpe.encode([piece])) {
      const id = ids.get(token);
      if (id === undefined || (fuses && id === unknown && spelled.at(-1) === unknown)) continue;
      spelled.push(id);
    }
    return spelled;
  };
}
