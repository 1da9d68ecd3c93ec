import { readFile } from "node:fs/promises";
import { ToastError } from "../errors.js";
import { byteOfCharacter } from "./encoding/byte-characters.js";
import { Encoder } from "./encoding/encoder.js";
import type { TokenizerSpecification } from "./encoding/specification.js";

/**
 * Words to ids and back, from a Hugging Face tokenizer.json. BPE models with byte fallback (LLaMA, TinyLlama, Vicuna)
 * and byte-level ones (LLaMA 3, SmolLM2); any other is refused at load, because it was never compared with the
 * reference library.
 *
 * Encoding gives the ids of the Python library ({@link Encoder}). Decoding is done piece by piece in bytes, so that
 * streamed and whole text are one computation; ids outside the vocabulary are skipped, as in Python: a model's
 * vocabulary may be padded.
 *
 * Special tokens written out in the text (`</s>`) become control tokens, in user messages too. Hugging Face and vLLM
 * render the chat template to one string and parse it whole, and so does this: templates write their control tokens as
 * text, and in the rendered string they cannot be told from the user's. A client gains nothing that it could not have
 * by sending other messages.
 */
export class Tokenizer {
  /** One more than the highest id. A model may have more rows than that, never fewer. */
  readonly vocabSize: number;
  readonly #encoder: Encoder;
  readonly #pieces: PieceDecoder;
  readonly #texts: (string | undefined)[] = [];
  readonly #specialIds = new Set<number>();
  /** Bytes by id, filled as ids are met: a long vocabulary is mostly never seen. */
  readonly #laterBytes: (Uint8Array | undefined)[] = [];
  #longest: number | null = null;

  private constructor(specification: TokenizerSpecification, encoder: Encoder, pieces: PieceDecoder) {
    this.#encoder = encoder;
    this.#pieces = pieces;
    for (const [text, id] of Object.entries(specification.model.vocab)) this.#texts[id] = text;
    for (const { id, content, special } of specification.added_tokens ?? []) {
      this.#texts[id] = content;
      if (special === true) this.#specialIds.add(id);
    }
    this.vocabSize = this.#texts.length;
  }

  /**
   * @throws ToastError `file_missing` when the file cannot be read, `unsupported_tokenizer` when it is no
   *   tokenizer.json or of a kind that would not be decoded exactly.
   */
  static async fromFile(tokenizerJsonPath: string): Promise<Tokenizer> {
    let json: string;
    try {
      json = await readFile(tokenizerJsonPath, "utf8");
    } catch (cause) {
      throw new ToastError("file_missing", `${tokenizerJsonPath}: the tokenizer cannot be read.`, { cause });
    }
    return Tokenizer.fromJson(json, tokenizerJsonPath);
  }

  /**
   * @param json what a tokenizer.json holds.
   * @param name what to call it in messages.
   * @throws ToastError `unsupported_tokenizer`
   */
  static fromJson(json: string, name: string): Tokenizer {
    try {
      const specification = JSON.parse(json) as TokenizerFile;
      if (specification.model?.type !== "BPE") {
        throw new Error(`its model is ${specification.model?.type ?? "missing"}, and only BPE is supported`);
      }
      const known = { ...specification, model: specification.model };
      return new Tokenizer(known, new Encoder(known), pieceDecoder(specification.decoder));
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ToastError("unsupported_tokenizer", `${name} cannot be used: ${reason}.`, { cause });
    }
  }

  /**
   * @param options.addSpecialTokens Whether the tokenizer puts its own around the text (LLaMA: BOS in front). False for
   * text rendered from a chat template, which has written its BOS already.
   */
  encode(text: string, options: { addSpecialTokens: boolean }): number[] {
    return this.#encoder.encode(text, options.addSpecialTokens);
  }

  /** Text of a whole sequence. Bytes that form no character become U+FFFD as the WHATWG decoder places them. */
  decode(ids: readonly number[], options: { skipSpecialTokens: boolean }): string {
    // Python writes one U+FFFD for every byte of a run of byte tokens with a flaw anywhere in it, so that a later byte
    // changes earlier characters. No stream can do that; the two agree on all text that is valid UTF-8.
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    let text = "";
    let place: PiecePlace = "first";
    for (const id of ids) {
      if (options.skipSpecialTokens && this.isSpecial(id)) continue;
      const bytes = this.tokenBytes(id, place);
      if (bytes === undefined) continue;
      place = "later";
      text += utf8.decode(bytes, { stream: true });
    }
    return text + utf8.decode();
  }

  /** Bytes of the longest token, special ones included. */
  get longestToken(): number {
    this.#longest ??= this.#texts.reduce(
      (most, text) => (text === undefined ? most : Math.max(most, this.#pieces(text, "later").length)),
      1,
    );
    return this.#longest;
  }

  /** The raw piece (`▁Hello`, `<0x0A>`), undefined for an id outside the vocabulary. */
  tokenText(id: number): string | undefined {
    return this.#texts[id];
  }

  /** How special tokens are written. */
  get specialTexts(): readonly string[] {
    return [...this.#specialIds].map((id) => this.#texts[id] ?? "").filter((text) => text !== "");
  }

  /** Whether `skipSpecialTokens` leaves this id out. */
  isSpecial(id: number): boolean {
    return this.#specialIds.has(id);
  }

  /**
   * What one token adds to the text, in UTF-8; a character may be spread over several tokens.
   *
   * @param place `first` for the token that begins the text: there the space that encoding put in front is taken off.
   * @returns Shared bytes, not to be written to; undefined for an id outside the vocabulary.
   */
  tokenBytes(id: number, place: PiecePlace): Uint8Array | undefined {
    const text = this.#texts[id];
    if (text === undefined) return undefined;
    if (place === "first") return this.#pieces(text, place);
    let bytes = this.#laterBytes[id];
    if (bytes === undefined) {
      bytes = this.#pieces(text, place);
      this.#laterBytes[id] = bytes;
    }
    return bytes;
  }
}

/** Where a token stands in the text that is decoded. */
export type PiecePlace = "first" | "later";

type PieceDecoder = (piece: string, place: PiecePlace) => Uint8Array;

/** A tokenizer.json that may lack anything. */
interface TokenizerFile extends Omit<TokenizerSpecification, "model"> {
  readonly model?: TokenizerSpecification["model"];
  readonly decoder?: DecoderSpecification | null;
}

interface DecoderSpecification {
  readonly type: string;
  readonly decoders?: readonly DecoderSpecification[];
  readonly pattern?: { readonly String?: string };
  readonly content?: string;
  readonly start?: number;
  readonly stop?: number;
  readonly replacement?: string;
  readonly prepend_scheme?: string;
}

const utf8Encoder = new TextEncoder();

/**
 * Compile the decoder section into a function of one piece. That is exact for decoders whose pieces do not look at each
 * other beyond joining bytes and a rule for the start of the text.
 */
function pieceDecoder(specification: DecoderSpecification | null | undefined): PieceDecoder {
  const steps = specification?.type === "Sequence" ? (specification.decoders ?? []) : [specification];
  const replacements: { from: string; to: string }[] = [];
  let byteFallback = false;
  let fused = false;
  let atStart: "keep" | "strip-space" | "drop-metaspace" = "keep";
  let metaspace = "";
  for (const step of steps) {
    switch (step?.type) {
      case "ByteLevel":
        if (steps.length > 1) throw new Error("its decoder joins ByteLevel with other steps");
        return byteLevelPiece;
      case "Replace":
        if (step.pattern?.String === undefined) throw new Error("its decoder replaces by a regular expression");
        replacements.push({ from: step.pattern.String, to: step.content ?? "" });
        break;
      case "Metaspace":
        metaspace = step.replacement ?? "▁";
        replacements.push({ from: metaspace, to: " " });
        if (step.prepend_scheme !== "never") atStart = "drop-metaspace";
        break;
      case "ByteFallback":
        byteFallback = true;
        break;
      case "Fuse":
        fused = true;
        break;
      case "Strip":
        // Before Fuse it would strip every piece, and more than one space could be spread over pieces.
        if (!fused || step.content !== " " || step.start !== 1 || (step.stop ?? 0) !== 0) {
          throw new Error("its decoder strips other than one space at the start of the text");
        }
        atStart = "strip-space";
        break;
      default:
        throw new Error(`its decoder ${step?.type ?? "is missing and"} is not supported`);
    }
  }
  return (piece, place) => {
    const byte = byteFallback ? byteOfPiece(piece) : undefined;
    if (byte !== undefined) {
      // A space is stripped however it was spelled.
      return place === "first" && atStart === "strip-space" && byte === 0x20 ? new Uint8Array() : Uint8Array.of(byte);
    }
    let text = place === "first" && atStart === "drop-metaspace" ? piece.replaceAll(metaspace, "") : piece;
    for (const { from, to } of replacements) text = text.replaceAll(from, to);
    if (place === "first" && atStart === "strip-space" && text.startsWith(" ")) text = text.slice(1);
    return utf8Encoder.encode(text);
  };
}

/** The value of a byte token such as `<0x0A>`. */
function byteOfPiece(piece: string): number | undefined {
  const hex = /^<0x([0-9A-Fa-f]{2})>$/.exec(piece)?.[1];
  return hex === undefined ? undefined : Number.parseInt(hex, 16);
}

function byteLevelPiece(piece: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of piece) {
    const byte = byteOfCharacter.get(character);
    // An added token with a character that stands for no byte is plain text as a whole.
    if (byte === undefined) return utf8Encoder.encode(piece);
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
