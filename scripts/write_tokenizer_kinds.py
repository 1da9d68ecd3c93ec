"""Write what Python's tokenizers makes of texts with every kind of tokenizer of LLaMA's kin."""

from __future__ import annotations

import argparse
import gzip
import json
import random
from pathlib import Path

import tokenizers
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

DESCRIPTION = """\
For each way in which models part, normalize and mark texts, a small vocabulary is trained on the texts of
test/tiny/gguf-tokenizers, and the texts, and others in which added tokens stand, are encoded with and without the
tokenizer's own tokens around them. Patterns are those that the models' makers publish.
Pins: requirements-tokenizers.txt.

example:
  python write_tokenizer_kinds.py --out ../test/tiny/tokenizer-kinds.json.gz
"""
TEXTS = Path(__file__).parent.parent / "test" / "tiny" / "gguf-tokenizers" / "texts.json"
PIECES = 500
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK_V3 = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]
DEEPSEEK_LLM = [
    r"[\r\n]",
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    "[一-龥ࠀ-一가-퟿]+",
]
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"


def split(pattern: str, behavior: str = "isolated", invert: bool = False) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def in_bytes(use_regex: bool = False, add_prefix_space: bool = False) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)


def then(*steps: pre_tokenizers.PreTokenizer) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(list(steps))


def marked(*more: normalizers.Normalizer) -> normalizers.Normalizer:
    return normalizers.Sequence([*more, normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


def metaspace(scheme: str, parts: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Metaspace("▁", scheme, parts)


digits, punctuation = pre_tokenizers.Digits, pre_tokenizers.Punctuation
# Of each kind what it does to a text, where it parts it, and what its vocabulary falls back to.
KINDS: dict[str, tuple[normalizers.Normalizer | None, pre_tokenizers.PreTokenizer | None, str]] = {
    "llama-2": (marked(), None, "byte pieces"),
    "llama-2, first": (None, metaspace("first", False), "byte pieces"),
    "metaspace, always, parted": (None, metaspace("always", True), "byte pieces"),
    "metaspace, never, parted": (None, metaspace("never", True), "unknown"),
    "mistral, no fallback": (marked(), None, "unknown"),
    "mistral, unknowns in one": (marked(), split("▁", "merged_with_next"), "one unknown"),
    "gemma-3": (normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"), "byte pieces"),
    "gpt-2": (None, in_bytes(True), "bytes"),
    "gpt-2, space in front": (None, in_bytes(True, True), "bytes"),
    "gpt-neox": (normalizers.NFC(), in_bytes(True), "bytes"),
    "nfkc": (normalizers.NFKC(), in_bytes(True), "bytes"),
    "llama-3": (None, then(split(LLAMA3), in_bytes()), "bytes, whole words"),
    "qwen2": (normalizers.NFC(), then(split(QWEN2), in_bytes()), "bytes"),
    "cl100k": (None, then(split(CL100K, "removed", True), in_bytes()), "bytes"),
    "tekken": (None, then(split(TEKKEN), in_bytes()), "bytes, whole words"),
    "gpt-oss": (None, then(split(O200K), in_bytes()), "bytes, whole words"),
    "deepseek-v3": (normalizers.Sequence([]), then(*map(split, DEEPSEEK_V3), in_bytes()), "bytes"),
    "deepseek-llm": (None, then(*map(split, DEEPSEEK_LLM), digits(True), in_bytes()), "bytes"),
    "smollm": (None, then(digits(True), in_bytes(True)), "bytes"),
    "falcon": (
        None,
        then(punctuation("contiguous"), in_bytes(True), digits(False), split("[0-9][0-9][0-9]")),
        "bytes",
    ),
    "bloom": (None, then(split(BLOOM), in_bytes()), "bytes"),
    "merged with next": (None, then(split(r"\s+", "merged_with_next"), in_bytes()), "bytes"),
    "merged with previous": (None, then(split(r"[,.]|(?=\d)", "merged_with_previous"), in_bytes()), "bytes"),
    "contiguous": (None, then(split(r"\p{L}", "contiguous"), in_bytes()), "bytes"),
    "white space": (None, then(pre_tokenizers.WhitespaceSplit(), punctuation("merged_with_next"), in_bytes()), "bytes"),
    "words": (normalizers.ByteLevel(), pre_tokenizers.Whitespace(), "bytes"),
    "bert's": (None, then(pre_tokenizers.BertPreTokenizer(), in_bytes()), "bytes"),
    "delimiter": (None, then(pre_tokenizers.CharDelimiterSplit("e"), in_bytes()), "bytes"),
    "lower case": (marked(normalizers.Strip(), normalizers.Lowercase()), None, "byte pieces"),
    "replaced": (
        marked(normalizers.NFD(), normalizers.Replace(Regex(r"\d+"), "$0")),
        None,
        "byte pieces",
    ),
}
SPECIAL = ["<s>", "</s>"]
# Content, and what is not as it is by default: neither a word of its own, nor with blanks, nor normalized.
ADDED: list[tuple[str, dict[str, bool]]] = [
    ("<tool>", {"special": True}),
    ("[L]", {"lstrip": True, "special": True}),
    ("[R]", {"rstrip": True, "special": True}),
    ("[LR]", {"lstrip": True, "rstrip": True}),
    ("word", {"single_word": True, "normalized": True}),
    ("Part", {"single_word": True}),
    ("two words", {"normalized": True}),
    (" lead", {"normalized": True, "lstrip": True}),
    ("trail ", {"rstrip": True}),
    ("abc", {}),
    ("ab", {"normalized": True}),
    ("bcd", {"single_word": True}),
    ("ÉTÉ", {"normalized": True}),
    ("   ", {"normalized": True}),
    ("\n\n\n", {}),
]


def texts_with_tokens(count: int) -> list[str]:
    """Added tokens among what may touch them."""
    chance = random.Random(19)
    contents = [content for content, _ in ADDED] + SPECIAL
    near = ["", " ", "  ", "\t", "\n", "\u0085", "\u00a0", "\ufeff", "\u200d", "_", "é", "x", "1", "½", ".", "▁"]
    near += ["日本", "e\u0301", "word", "a", "d"]

    def one() -> str:
        return "".join(chance.choice(contents if place % 2 else near) for place in range(chance.randint(2, 9)))

    return [one() for _ in range(count)]


def trained(kind: str, lines: list[str]) -> dict:
    """A tokenizer.json without added tokens."""
    normalizer, parts, fallback = KINDS[kind]
    tokenizer = Tokenizer(models.BPE())
    for name, part in (("normalizer", normalizer), ("pre_tokenizer", parts)):
        if part is not None:
            setattr(tokenizer, name, part)
    in_characters = not fallback.startswith("bytes")
    alphabet = list("▁ abcdefghijklmnopqrstuvwxyzETAOINS.,é") if in_characters else pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES + len(alphabet),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet) + 20,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    content = json.loads(tokenizer.to_str())
    first = ["<unk>"] if in_characters else []
    if fallback == "byte pieces":
        first += BYTES
    learned = sorted(content["model"]["vocab"], key=content["model"]["vocab"].get)
    if fallback == "bytes, whole words":
        learned += ["Ġmississippi", "ĠThe", "supercalifragilistic"]
    pieces = list(dict.fromkeys([*first, *learned]))
    content["model"] |= {
        "vocab": {piece: place for place, piece in enumerate(pieces)},
        "unk_token": "<unk>" if in_characters else None,
        "fuse_unk": fallback in ("one unknown", "byte pieces"),
        "byte_fallback": fallback == "byte pieces",
        "ignore_merges": fallback == "bytes, whole words",
    }
    return content


def finished(kind: str, lines: list[str]) -> dict:
    content = trained(kind, lines)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    tokens = [(text, {"special": True}) for text in SPECIAL] + ADDED
    if kind == "lower case":
        # Nothing is left of blanks, and the library finds nothing everywhere.
        tokens = [(text, own) for text, own in tokens if text.strip() != ""]
    known = content["model"]["vocab"]
    new = iter(range(len(known), len(known) + len(tokens)))
    content["added_tokens"] = [
        {"id": known[text] if text in known else next(new), "content": text, **flags, **own} for text, own in tokens
    ]
    ids = {token["content"]: token["id"] for token in content["added_tokens"]}
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {text: {"id": text, "ids": [ids[text]], "tokens": [text]} for text in SPECIAL},
    }
    in_characters = not KINDS[kind][2].startswith("bytes")
    content["decoder"] = (
        {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        }
        if in_characters
        else {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    )
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    lines = json.loads(TEXTS.read_text("utf-8"))
    texts = [*lines, *texts_with_tokens(300)]
    kinds = {}
    for kind in KINDS:
        content = finished(kind, lines * 2)
        tokenizer = Tokenizer.from_str(json.dumps(content))
        encoded = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        around = tokenizer.encode("x").ids
        kinds[kind] = {"tokenizer": content, "ids": encoded, "around": around}
    written = {"by": f"tokenizers {tokenizers.__version__}", "texts": texts, "kinds": kinds}
    packed = json.dumps(written, ensure_ascii=False, separators=(",", ":")).encode()
    out.write_bytes(gzip.compress(packed, 9, mtime=0))
    print(f"{len(kinds)} kinds, {len(texts)} texts, {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
