"""LLaMA-style tokenizers: train one, and read the one of a Hugging Face folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A BPE tokenizer with byte fallback, laid out as LLaMA's: <unk> <s> </s>, 256 bytes, then learned pieces.

    Spaces become ▁ and one is put before the text; digits stand alone; a text always decodes to itself, because
    characters that were never learned are spelled in bytes.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bytes_alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[UNKNOWN, BEGIN, END, *bytes_alphabet],
        # A rare character is better spelled in bytes than given one of few pieces.
        limit_alphabet=min(200, vocab_size // 4),
        max_token_length=16,
        show_progress=False,
    )
    tokenizer.pre_tokenizer = word_boundaries()
    tokenizer.train_from_iterator(texts, trainer)
    # The byte pieces were entered as special tokens to fix their ids; they must not be matched in text ("<0x0A>"
    # written out is six ordinary characters), so the specification is rewritten with three special tokens only.
    specification = _without_byte_specials(tokenizer, bytes_alphabet)
    specification.pre_tokenizer = word_boundaries()
    specification.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    begin_id = specification.token_to_id(BEGIN)
    specification.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, begin_id)]
    )
    return specification


def word_boundaries() -> pre_tokenizers.PreTokenizer:
    """Cut before every run of ▁ and around line breaks and digits, keeping every character."""
    # [0-9] and not \d: regular expressions of other languages read \d differently.
    return pre_tokenizers.Split(Regex(r"▁*[^▁\n0-9]+|▁+|\n+|[0-9]"), behavior="isolated")


def _without_byte_specials(tokenizer: Tokenizer, bytes_alphabet: list[str]) -> Tokenizer:
    values = json.loads(tokenizer.to_str())
    values["added_tokens"] = [token for token in values["added_tokens"] if token["content"] not in bytes_alphabet]
    return Tokenizer.from_str(json.dumps(values))


def save_tokenizer(tokenizer: Tokenizer, folder: Path, max_length: int, chat_template: str | None = None) -> None:
    """Write tokenizer.json and tokenizer_config.json as a Hugging Face folder has them."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "unk_token": UNKNOWN,
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
    }
    if chat_template is not None:
        config["chat_template"] = chat_template
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def save_tokenizer_again(tokenizer: Tokenizer, folder: Path, pad_token: str | None) -> None:
    """Rewrite a folder's tokenizer after a token was added to it."""
    tokenizer.save(str(folder / "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    if pad_token is not None:
        config["pad_token"] = pad_token
    path.write_text(json.dumps(config, indent=2) + "\n")


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read a folder's tokenizer.json, or the one beside a .gguf file (the converter writes one into its result)."""
    if folder.suffix == ".gguf":
        folder = folder.parent
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no tokenizer.json here (a fast tokenizer is needed)")
    return Tokenizer.from_file(str(path))


def add_pad_token(tokenizer: Tokenizer, content: str = "[PAD]") -> int:
    """Add a padding token the way the official TOAST training does; returns its id."""
    tokenizer.add_special_tokens([AddedToken(content, special=True)])
    return tokenizer.token_to_id(content)
