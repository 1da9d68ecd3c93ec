import { unpackVocabulary, type Vocabulary } from "../vocabulary.js";

/**
 * Tokens as a tree of bytes, in preorder: node n + 1 is the first child of node n, if it has one, and the walk goes on
 * at `ends[n]` where nothing below n is of interest.
 */
export interface TokenTrie {
  /** [N] the byte that leads to a node. */
  readonly bytes: Uint8Array;
  /** [N] bytes from the root to a node, 1 and more. */
  readonly depths: Uint16Array;
  /** [N] the node behind all those below. */
  readonly ends: Int32Array;
  /** [N] a token that ends here, −1 where there is none. */
  readonly tokens: Int32Array;
  /** [N] 1 where all bytes below are plain characters of ASCII. */
  readonly isPlainBelow: Uint8Array;
  /** [V] another token of the same bytes, −1 where there is none. */
  readonly same: Int32Array;
}

/** @param ids of tokens with bytes */
export function tokenTrie(tokens: readonly Uint8Array[], ids: readonly number[]): TokenTrie {
  const bytesOf = (id: number) => tokens[id] as Uint8Array;
  const sorted = ids.toSorted((a, b) => Buffer.compare(bytesOf(a), bytesOf(b)));
  const size = ids.reduce((sum, id) => sum + bytesOf(id).length, 0);
  const trie = {
    bytes: new Uint8Array(size),
    depths: new Uint16Array(size),
    ends: new Int32Array(size),
    tokens: new Int32Array(size).fill(-1),
    same: new Int32Array(tokens.length).fill(-1),
  };
  let count = 0;
  /** Nodes from the root to the last token. */
  const path: number[] = [];
  for (const id of sorted) {
    const bytes = bytesOf(id);
    let depth = 0;
    while (depth < path.length && depth < bytes.length && trie.bytes[path[depth] as number] === bytes[depth]) depth++;
    for (const done of path.splice(depth)) trie.ends[done] = count;
    for (; depth < bytes.length; depth++) {
      path.push(count);
      trie.bytes[count] = bytes[depth] as number;
      trie.depths[count] = depth + 1;
      count++;
    }
    const node = path.at(-1) as number;
    trie.same[id] = trie.tokens[node] as number;
    trie.tokens[node] = id;
  }
  for (const done of path) trie.ends[done] = count;
  const [bytes, depths] = [trie.bytes.slice(0, count), trie.depths.slice(0, count)];
  return {
    bytes,
    depths,
    isPlainBelow: plainBelow(bytes, depths),
    ends: trie.ends.slice(0, count),
    tokens: trie.tokens.slice(0, count),
    same: trie.same,
  };
}

function plainBelow(bytes: Uint8Array, depths: Uint16Array): Uint8Array {
  const isPlain = new Uint8Array(bytes.length).fill(1);
  /** By depth. */
  const path: number[] = [];
  for (const [node, byte] of bytes.entries()) {
    const depth = depths[node] as number;
    path[depth] = node;
    if (byte < 0x80 && isPlainCharacter(byte)) continue;
    for (let above = depth - 1; above > 0 && isPlain[path[above] as number] === 1; above--)
      isPlain[path[above] as number] = 0;
  }
  return isPlain;
}

/** The tokens of a model, sorted for whoever looks for those that may come next. */
export interface TokenIndex {
  /** [V] without bytes where a token is no text. */
  readonly tokens: readonly Uint8Array[];
  readonly eosIds: readonly number[];
  /** Bytes of the longest token. */
  readonly maxLength: number;
  readonly all: TokenTrie;
  /** Tokens of nothing but plain characters: most of them, all alike to a string or a text.. */
  readonly plain: readonly number[];
  /** The others. */
  readonly special: TokenTrie;
  /** Tokens that begin with so many of JSON's blanks, and are nothing else, or go on with a sign of JSON. */
  readonly blanks: readonly { readonly id: number; readonly length: number }[];
  /** Tokens of nothing but digits. */
  readonly digits: readonly number[];
}

export function indexTokens(vocabulary: Vocabulary): TokenIndex {
  const tokens = unpackVocabulary(vocabulary);
  const bytesOf = (id: number) => tokens[id] as Uint8Array;
  const texts = [...tokens.keys()].filter((id) => bytesOf(id).length > 0);
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const isPlain = (id: number): boolean => {
    try {
      return [...decoder.decode(tokens[id])].every((character) => isPlainCharacter(character.codePointAt(0) as number));
    } catch {
      return false;
    }
  };
  const plain = texts.filter(isPlain);
  const isKnown = new Set(plain);
  return {
    tokens,
    eosIds: vocabulary.eosIds,
    maxLength: tokens.reduce((most, { length }) => Math.max(most, length), 0),
    all: tokenTrie(tokens, texts),
    plain,
    special: tokenTrie(
      tokens,
      texts.filter((id) => !isKnown.has(id)),
    ),
    blanks: texts.flatMap((id) => {
      const [, blanks] = /^([ \n\r\t]+)(?:$|[,:\]}"{[])/.exec(Buffer.from(bytesOf(id)).toString("latin1")) ?? [];
      return blanks === undefined ? [] : [{ id, length: blanks.length }];
    }),
    digits: texts.filter((id) => bytesOf(id).every(isDigitByte)),
  };
}

/** Characters that a JSON string holds as they are, and that begin no call of a function. */
export const plainCharacters = [
  [0x20, 0x21],
  [0x23, 0x3b],
  [0x3d, 0x5b],
  [0x5d, 0xd7ff],
  [0xe000, 0x10ffff],
] as const;

/** One of JSON's blanks. */
export function isBlankByte(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

export function isDigitByte(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function isPlainCharacter(codePoint: number): boolean {
  return plainCharacters.some(([from, to]) => codePoint >= from && codePoint <= to);
}
