"""Text in, blocks of token ids out: where documents come from, which are held out, and how they are packed.

Nothing here knows a model. A document is a string; what identifies it is the hash of its text, so that the same
document falls on the same side of the held-out split whatever file, order or limit it came with.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import hashlib
import io
import json
import lzma
import os
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

Split = Literal["train", "held_out"]

TEXT_ENDINGS = (".jsonl", ".json", ".txt", ".md", ".parquet")
COMPRESSIONS = (".xz", ".gz", ".bz2", ".zst")
_HUB_NAME = re.compile(r"^[\w.-]+(/[\w.-]+)?$")


class DataError(ValueError):
    """Something about the data that the user can put right. The message is one sentence."""


def open_text(path: Path) -> IO[str]:
    """Open a plain or compressed UTF-8 file for reading."""
    ending = path.suffix
    if ending == ".xz":
        return lzma.open(path, "rt", encoding="utf-8")
    if ending == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    if ending == ".bz2":
        return bz2.open(path, "rt", encoding="utf-8")
    if ending == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise DataError(f"{path}: reading .zst needs the package 'zstandard' (pip install zstandard)") from error
        return io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(path.open("rb")), encoding="utf-8")
    return path.open(encoding="utf-8")


def read_file(path: Path) -> Iterator[str]:
    """Every document of one file: a line's ``text`` in .jsonl, a row's in .parquet, the whole of a .txt."""
    name = path.name
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    kind = Path(name).suffix
    if kind == ".parquet":
        import pyarrow.parquet

        for group in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1024, columns=["text"]):
            yield from (text for text in group.column(0).to_pylist() if text)
        return
    with open_text(path) as lines:
        if kind in (".txt", ".md"):
            yield lines.read()
        elif kind == ".jsonl":
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    text = json.loads(line)["text"]
                except (json.JSONDecodeError, KeyError, TypeError) as error:
                    raise DataError(f"{path}:{number}: not a JSON object with a field 'text'") from error
                if text:
                    yield text
        elif kind == ".json":
            rows = json.load(lines)
            if not isinstance(rows, list) or not all(isinstance(row, dict) and "text" in row for row in rows):
                raise DataError(f"{path}: not a JSON list of objects with a field 'text'")
            yield from (row["text"] for row in rows if row["text"])
        else:
            raise DataError(f"{path}: unknown kind of text file (known: {', '.join(TEXT_ENDINGS)}, compressed or not)")


def read_hub(name: str) -> Iterator[str]:
    """Every document of a dataset's train split on the Hugging Face hub, streamed. Needs the extra 'datasets'."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"'{name}' is no file or folder here; to read it as a dataset of the Hugging Face hub, "
            "install the extra: pip install -r scripts/requirements-hub.txt"
        ) from error
    for row in datasets.load_dataset(name, split="train", streaming=True):
        if "text" not in row:
            raise DataError(f"dataset '{name}' has no column 'text'")
        if row["text"]:
            yield row["text"]


@dataclass(frozen=True)
class TextSource:
    """One ``--text`` value, ``PATH[:MAX_MB[:REPEAT]]``: where it is, how much of it to take, how often to show it.

    PATH is a file, a folder, a glob pattern, or the name of a hub dataset. A limit takes the documents with the
    smallest hashes, so it is a random sample of the source and always the same one.
    """

    path: str
    max_megabytes: float | None = None
    repeat: int = 1

    @staticmethod
    def parse(value: str) -> TextSource:
        match = re.fullmatch(r"(.+?)(?::(\d+(?:\.\d+)?)?(?::(\d+))?)?", value)
        if match is None:
            raise DataError(f"'{value}' is not PATH[:MAX_MB[:REPEAT]]")
        path, limit, repeat = match.groups()
        return TextSource(path, float(limit) if limit else None, int(repeat) if repeat else 1)

    def files(self) -> list[Path]:
        """The files behind the path, sorted; empty when it must be a hub name."""
        path = Path(self.path)
        if path.is_file():
            return [path]
        if path.is_dir():
            found = [file for file in sorted(path.rglob("*")) if file.is_file() and _has_text_ending(file)]
            if not found:
                raise DataError(f"{path}: no text file in this folder (known: {', '.join(TEXT_ENDINGS)})")
            return found
        found = sorted(Path(file) for file in glob.glob(self.path, recursive=True))  # noqa: PTH207 (absolute too)
        if found:
            return found
        if _HUB_NAME.match(self.path) and not _has_text_ending(path):
            return []
        raise DataError(f"{self.path}: no such file, folder or pattern")

    def documents(self) -> Iterator[str]:
        """Every document once, in the source's order, without the limit."""
        files = self.files()
        if not files:
            yield from read_hub(self.path)
        for file in files:
            yield from read_file(file)

    def identity(self) -> list[object]:
        """What the cached tokens of this source depend on."""
        files = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in self.files()]
        return [files or self.path, self.max_megabytes, self.repeat]


def _has_text_ending(path: Path) -> bool:
    name = path.name
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return name.endswith(TEXT_ENDINGS)


def document_hash(text: str) -> int:
    """64 bits of the text's sha256: a document's identity."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def split_of(text: str, held_out_percent: float) -> Split:
    """The side of the split a document is on; depends on its text alone."""
    # The limit of a source selects by the hash too, so the split reads other bits than the most significant ones.
    fraction = (document_hash(text) & 0xFFFFFFFF) / 2**32
    return "held_out" if fraction * 100 < held_out_percent else "train"


def read_documents(sources: Iterable[TextSource], split: Split, held_out_percent: float) -> Iterator[str]:
    """The documents of one side of the split, source after source, limits and repeats applied."""
    for source in sources:
        threshold = 2**64 if source.max_megabytes is None else _limit_threshold(source, split, held_out_percent)
        for _ in range(source.repeat):
            for text in source.documents():
                if split_of(text, held_out_percent) == split and document_hash(text) < threshold:
                    yield text


def _limit_threshold(source: TextSource, split: Split, held_out_percent: float) -> int:
    """The hash below which this side's documents add up to the source's limit (a first walk over the source)."""
    hashes, sizes = array("Q"), array("Q")
    for text in source.documents():
        if split_of(text, held_out_percent) == split:
            hashes.append(document_hash(text))
            sizes.append(len(text.encode("utf-8", "surrogatepass")))
    order = np.argsort(np.frombuffer(hashes, dtype=np.uint64)) if hashes else np.empty(0, dtype=np.int64)
    budget = (source.max_megabytes or 0.0) * 1e6
    for index in order:
        if budget <= 0:
            return hashes[index]
        budget -= sizes[index]
    return 2**64


class TokenFile:
    """Packed token ids on disk, read as a memory map: BOS (or not), document, EOS, BOS, document, EOS, …"""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, int | str] = json.loads(path.with_suffix(".json").read_text())
        self.ids = np.memmap(path, dtype=str(self.facts["dtype"]), mode="r")

    @property
    def token_count(self) -> int:
        return len(self.ids)

    @property
    def byte_count(self) -> int:
        """UTF-8 bytes of the text that the ids stand for (to turn a loss per token into bits per byte)."""
        return int(self.facts["bytes"])


def tokenize(
    sources: list[TextSource],
    split: Split,
    held_out_percent: float,
    tokenizer: Tokenizer,
    bos_id: int | None,
    eos_id: int,
    cache_dir: Path,
) -> TokenFile:
    """Tokenize one side of the split once; a second call with the same inputs finds the file.

    ``bos_id`` None: documents are only ended, by EOS. The ids are uint16 where the vocabulary allows it, else uint32.
    The file appears under its name only when it is complete.
    """
    inputs = [[s.identity() for s in sources], split, held_out_percent, bos_id, eos_id, tokenizer.to_str(), "packed-1"]
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:20]
    path = cache_dir / f"{split}-{key}.bin"
    if path.exists() and path.with_suffix(".json").exists():
        return TokenFile(path)
    cache_dir.mkdir(parents=True, exist_ok=True)
    dtype = "uint16" if tokenizer.get_vocab_size() <= 2**16 else "uint32"
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    begin = [] if bos_id is None else [bos_id]
    documents = tokens = size = 0
    with unfinished.open("wb") as file:
        for batch in _batches_of(read_documents(sources, split, held_out_percent), 1_000_000):
            for text, encoding in zip(batch, tokenizer.encode_batch(batch, add_special_tokens=False), strict=True):
                ids = np.array([*begin, *encoding.ids, eos_id], dtype=dtype)
                ids.tofile(file)
                documents, tokens = documents + 1, tokens + len(ids)
                size += len(text.encode("utf-8", "surrogatepass"))
    if documents == 0:
        unfinished.unlink()
        raise DataError(f"no {split.replace('_', '-')} document in {', '.join(s.path for s in sources)}")
    facts = {"dtype": dtype, "documents": documents, "tokens": tokens, "bytes": size}
    path.with_suffix(".json").write_text(json.dumps(facts))
    unfinished.replace(path)
    return TokenFile(path)


def _batches_of(documents: Iterable[str], characters: int) -> Iterator[list[str]]:
    batch: list[str] = []
    held = 0
    for text in documents:
        batch.append(text)
        held += len(text)
        if held >= characters:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


IGNORED = -100
"""The label of a position that asks for nothing."""


@dataclass(frozen=True)
class Batch:
    """Ids and what should come after each: both (B, T) int64; a label of -100 asks nothing of its position.

    ``bottom_up`` (B, T, D) is what the frozen backbone makes of the ids, where that is known already.
    """

    ids: Tensor
    labels: Tensor
    bottom_up: Tensor | None = None

    @property
    def target_count(self) -> int:
        return int((self.labels != IGNORED).sum())

    def to(self, device: torch.device) -> Batch:
        known = None if self.bottom_up is None else self.bottom_up.to(device)
        return Batch(self.ids.to(device), self.labels.to(device), known)


class PackedBlocks:
    """Batches of T-token blocks cut from packed ids, in an order that the seed and the step alone decide.

    ``batch(step, size)`` can be asked for any step in any order, so a resumed run needs no data position beyond its
    step. Each epoch visits every block once, in its own permutation.
    """

    def __init__(self, ids: np.ndarray, block: int, seed: int) -> None:
        self.ids, self.block, self.seed = ids, block, seed
        self.count = (len(ids) - 1) // block
        if self.count < 1:
            raise DataError(f"{len(ids)} tokens are too few for one block of {block}")
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.count

    def batch(self, step: int, size: int) -> Batch:
        """Examples step·size … step·size+size-1 of the endless shuffled stream."""
        rows = [self._row(step * size + offset) for offset in range(size)]
        window = torch.from_numpy(np.stack(rows))  # (B, T+1)
        return Batch(window[:, :-1].contiguous(), window[:, 1:].contiguous())

    def _row(self, position: int) -> np.ndarray:
        epoch, place = divmod(position, self.count)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
        start = int(self._order[place]) * self.block
        return self.ids[start : start + self.block + 1].astype(np.int64)  # (T+1,)


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of one example from its very first token on, and which of them the model is asked to predict."""

    ids: list[int]
    asked: list[bool]


def document_examples(
    texts: Iterable[str], tokenizer: Tokenizer, bos_id: int, block: int, max_tokens: int
) -> list[Example]:
    """Every document from its own beginning, in blocks of ``block`` tokens that each begin anew with BOS.

    All but BOS is asked; after ``max_tokens`` asked tokens it stops. ``toast-serve perplexity`` cuts a text alike, so
    both measure the same predictions.
    """
    examples: list[Example] = []
    left = max_tokens
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        for start in range(0, len(ids), block - 1):
            part = ids[start : min(start + block - 1, start + left)]
            if not part:
                return examples
            left -= len(part)
            examples.append(Example([bos_id, *part], [False, *([True] * len(part))]))
    return examples


class Responses:
    """Batches of examples, padded on the right to the longest of the batch; only asked tokens become labels.

    The seed and the step alone decide the order, as for PackedBlocks. Each epoch shuffles the examples, sorts them by
    length within pools of POOL batches (little padding) and shuffles the batches; what does not fill a last batch
    waits for another epoch. The decoders here are causal, so what follows an example's end cannot reach it and no
    attention mask is needed.
    """

    POOL = 32

    def __init__(self, examples: list[Example], pad_id: int, seed: int) -> None:
        if not examples:
            raise DataError("no example to train on")
        self.examples, self.pad_id, self.seed = examples, pad_id, seed
        self._lengths = np.array([len(example.ids) for example in examples])
        self._ordered_for: tuple[int, int] | None = None  # (epoch, size)
        self._order = np.empty((0, 0), dtype=np.int64)  # (batches, size)

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, step: int, size: int) -> Batch:
        """Batch number ``step`` of the endless stream of batches of ``size``."""
        return pad([self.examples[index] for index in self.rows(step, size)], self.pad_id)

    def rows(self, step: int, size: int) -> list[int]:
        """Which examples that batch is made of."""
        per_epoch = len(self.examples) // size
        if per_epoch == 0:
            raise DataError(f"{len(self.examples)} examples are too few for a batch of {size}")
        epoch, place = divmod(step, per_epoch)
        if self._ordered_for != (epoch, size):
            self._ordered_for, self._order = (epoch, size), self._arrange(epoch, size, per_epoch)
        return self._order[place].tolist()

    def _arrange(self, epoch: int, size: int, count: int) -> np.ndarray:
        """One epoch's batches, (count, size) indices."""
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.examples))[: count * size]
        pool = size * self.POOL
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        ordered = [pool[np.argsort(self._lengths[pool], kind="stable")] for pool in pools]
        return random.permutation(np.concatenate(ordered).reshape(count, size))


def shared_prefix(ids: Tensor, asked: Tensor) -> int:
    """How many tokens at their beginning all rows of ids (B, T) have in common, before the first that is asked for.

    A chat template begins every conversation alike; passes need to compute that part once for a whole batch.
    """
    alike = (ids == ids[:1]).all(dim=0) & ~asked.any(dim=0)  # (T,)
    return int(alike.int().cumprod(dim=0).sum())


def pad(examples: list[Example], pad_id: int) -> Batch:
    """Examples -> one Batch; the label of a position is the token after it where that one is asked."""
    length = max(len(example.ids) for example in examples) - 1
    ids = torch.full((len(examples), length), pad_id, dtype=torch.int64)  # (B, T)
    labels = torch.full((len(examples), length), IGNORED, dtype=torch.int64)  # (B, T)
    for row, example in enumerate(examples):
        end = len(example.ids) - 1
        whole = torch.tensor(example.ids, dtype=torch.int64)  # (end+1,)
        asked = torch.tensor(example.asked, dtype=torch.bool)  # (end+1,)
        ids[row, :end] = whole[:-1]
        labels[row, :end] = torch.where(asked[1:], whole[1:], IGNORED)
    return Batch(ids, labels)
