"""Write test/tiny/gguf-tokenizers: vocabularies as GGUF keeps them, and the ids that their own libraries give.

texts.json in that folder is the input: texts of many languages and habits, written by hand and drawn at random. From
it and the text given, five small vocabularies are trained: SentencePiece BPE by sentencepiece, and byte-level BPE by
tokenizers for each way of parting text that has a name in GGUF. NAME.json has the metadata of a GGUF file with that
vocabulary, the ids of each text, and the decoded text where it differs. The ids come from tokenizers that were never
in GGUF: sentencepiece's own model, and pre-tokenizers as the models' makers published them.

With --smollm2 also smollm2-metadata.json.gz, out of the real file, and smollm2.json with its ids.
Pins: requirements-tokenizers.txt.

example:
  python write_tokenizer_reference.py --text novels.jsonl.xz:2 --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from toast.data import TextSource, read_documents

FOLDER = Path(__file__).parent.parent / "test" / "tiny" / "gguf-tokenizers"
PIECES = 3000
TURNS = ["<|im_start|>", "<|im_end|>"]
CALL = "<tool_call>"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def isolated(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def in_bytes(use_regex: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


# gpt-2: openai-community/gpt2; llama-bpe: Meta-Llama-3; smollm: HuggingFaceTB/SmolLM2; default: llama.cpp alone
# has it, here in the words of its source (src/llama-vocab.cpp).
WORDS: dict[str, Callable[[], pre_tokenizers.PreTokenizer]] = {
    "gpt-2": lambda: in_bytes(True),
    "llama-bpe": lambda: pre_tokenizers.Sequence([isolated(LLAMA3), in_bytes(False)]),
    "smollm": lambda: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), in_bytes(True)]),
    "default": lambda: pre_tokenizers.Sequence(
        [
            isolated(r"[\p{P}\$\+<=>\^~\|]+"),
            isolated(GPT2),
            isolated(r"\p{N}+"),
            isolated(r"[0-9][0-9][0-9]"),
            in_bytes(False),
        ]
    ),
}

Encode = Callable[[str], list[int]]
Decode = Callable[[list[int]], str]


def train_sentencepiece(lines: list[str]) -> bytes:
    """A model as LLaMA's: BPE, byte fallback, digits alone, text as it is. Returns the serialized model."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=PIECES,
        character_coverage=0.999,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        control_symbols=TURNS,
        user_defined_symbols=[CALL],
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def sentencepiece_metadata(model: bytes, add_space_prefix: bool) -> dict:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    ids = range(processor.vocab_size())

    def kind(piece: int) -> int:
        if processor.is_unknown(piece):
            return 2
        if processor.is_control(piece):
            return 3
        if processor.id_to_piece(piece) == CALL:
            return 4
        if processor.is_unused(piece):
            return 5
        return 6 if processor.is_byte(piece) else 1

    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [processor.id_to_piece(piece) for piece in ids],
        "tokenizer.ggml.scores": [processor.get_score(piece) for piece in ids],
        "tokenizer.ggml.token_type": [kind(piece) for piece in ids],
        "tokenizer.ggml.bos_token_id": processor.bos_id(),
        "tokenizer.ggml.eos_token_id": processor.eos_id(),
        "tokenizer.ggml.unknown_token_id": processor.unk_id(),
        "tokenizer.ggml.add_space_prefix": add_space_prefix,
    }


def sentencepiece_codec(model: bytes, add_space_prefix: bool) -> tuple[Encode, Decode]:
    """SentencePiece knows no control tokens in a text: what stands between them is encoded as a text of its own."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    changed = sentencepiece_model_pb2.ModelProto.FromString(model)
    changed.normalizer_spec.add_dummy_prefix = add_space_prefix
    processor = sentencepiece.SentencePieceProcessor(model_proto=changed.SerializeToString())
    whole = ["<unk>", "<s>", "</s>", *TURNS, CALL]

    def encode(text: str) -> list[int]:
        ids: list[int] = []
        for part in re.split(f"({'|'.join(map(re.escape, whole))})", text):
            ids += [processor.piece_to_id(part)] if part in whole else processor.encode(part)
        return ids

    # SentencePiece writes <unk> as " ⁇ "; here it is a special token like the others.
    return encode, lambda ids: processor.decode([piece for piece in ids if not processor.is_unknown(piece)])


def byte_level(lines: list[str], words: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = WORDS[words]()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(pair) for pair in model["merges"]]
    if words == "llama-bpe":
        # LLaMA 3 has words that no merges lead to; they are found whole.
        for word in ["Ġmississippi", "supercalifragilisticexpialidocious"]:
            vocab[word] = len(vocab)
    finished = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=words == "llama-bpe"))
    finished.pre_tokenizer = WORDS[words]()
    finished.decoder = decoders.ByteLevel()
    finished.add_special_tokens(["<|begin_of_text|>", "<|eot_id|>", *TURNS])
    finished.add_tokens([AddedToken(CALL, normalized=False)])
    return finished


def byte_level_metadata(tokenizer: Tokenizer, words: str) -> dict:
    model = json.loads(tokenizer.to_str())["model"]
    size = tokenizer.get_vocab_size()
    added = tokenizer.get_added_tokens_decoder()

    def kind(token: int) -> int:
        return (3 if added[token].special else 4) if token in added else 1

    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": words,
        "tokenizer.ggml.tokens": [tokenizer.id_to_token(token) for token in range(size)],
        "tokenizer.ggml.token_type": [kind(token) for token in range(size)],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
        "tokenizer.ggml.bos_token_id": tokenizer.token_to_id("<|begin_of_text|>"),
        "tokenizer.ggml.eos_token_id": tokenizer.token_to_id("<|im_end|>"),
        "tokenizer.ggml.add_bos_token": False,
    }


def byte_level_codec(tokenizer: Tokenizer) -> tuple[Encode, Decode]:
    return (
        lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
    )


def smollm2_metadata(file: Path) -> dict:
    from gguf import GGUFReader

    fields = GGUFReader(file).fields
    return {key: field.contents() for key, field in fields.items() if key.startswith("tokenizer.")}


def smollm2_tokenizer(metadata: dict) -> Tokenizer:
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    merges = [tuple(line.split(" ")) for line in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: place for place, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = WORDS["smollm"]()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([token for token, kind in zip(tokens, kinds, strict=True) if kind == 3])
    return tokenizer


def write(folder: Path, name: str, texts: list[str], codec: tuple[Encode, Decode], metadata: dict | None) -> None:
    encode, decode = codec
    ids = [encode(text) for text in texts]
    decoded = {str(place): text for place, text in enumerate(map(decode, ids)) if text != texts[place]}
    content = {} if metadata is None else {"metadata": metadata}
    content |= {"ids": ids, "decoded": decoded}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{path.name}: {sum(map(len, ids))} ids, {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, metavar="PATH[:MAX_MB]", help="what to train on, beside texts.json")
    parser.add_argument("--smollm2", type=Path, help="SmolLM2's GGUF file")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder with texts.json")
    arguments = parser.parse_args()
    texts = json.loads((arguments.out / "texts.json").read_text())
    documents = read_documents([TextSource.parse(arguments.text)], "train", 0)
    lines = texts * 3 + [line for document in documents for line in document.splitlines() if len(line) < 4000]

    model = train_sentencepiece(lines)
    for name, prefix in {"sentencepiece": True, "sentencepiece-no-prefix": False}.items():
        metadata = sentencepiece_metadata(model, prefix) if prefix else None
        write(arguments.out, name, texts, sentencepiece_codec(model, prefix), metadata)
    for words in WORDS:
        tokenizer = byte_level(lines, words)
        write(arguments.out, words, texts, byte_level_codec(tokenizer), byte_level_metadata(tokenizer, words))
    if arguments.smollm2:
        metadata = smollm2_metadata(arguments.smollm2)
        packed = gzip.compress(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode(), 9, mtime=0)
        (arguments.out / "smollm2-metadata.json.gz").write_bytes(packed)
        write(arguments.out, "smollm2", texts, byte_level_codec(smollm2_tokenizer(metadata)), None)


if __name__ == "__main__":
    main()
