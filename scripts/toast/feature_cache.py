"""The bottom-up pass of fixed examples, kept on disk: a frozen backbone computes the same z every time.

It pays where examples are seen more than once: several epochs, learning rates, seeds or adapters on the same data. An
example's z is computed when it is first asked for, rounded to bfloat16, and read from the disk ever after; it is the
rounded one that is used the first time too, so a run does not depend on what was there before it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from toast.data import IGNORED, Batch, Example, Responses, pad, shared_prefix
from toast.files import write_json
from toast.llama import LlamaForCausalLM

VERSION = 1


class FeatureCache:
    """A memory-mapped file of z (tokens, D) in bfloat16, one stretch of tokens for each example.

    The file has its full size from the start, as a sparse one: only what was written takes room. An example counts as
    there once ``flush`` has seen its values on the disk, so a kill loses work but leaves nothing wrong.
    """

    def __init__(self, folder: Path, key: str, lengths: list[int], hidden_size: int) -> None:
        """``lengths``: how many tokens of each example are kept."""
        ends = np.cumsum(np.array(lengths, dtype=np.int64))
        self._ends, self._starts = ends, ends - np.array(lengths, dtype=np.int64)
        folder.mkdir(parents=True, exist_ok=True)
        values, there = folder / f"{key}.z", folder / f"{key}.there"
        shape = (int(ends[-1]), hidden_size)
        write_json(folder / f"{key}.json", {"version": VERSION, "examples": len(lengths), "shape": shape})
        self._values = _map(values, np.int16, shape)
        self._there = _map(there, np.uint8, (len(lengths),))
        self._fresh: set[int] = set()

    def has(self, example: int) -> bool:
        return bool(self._there[example]) or example in self._fresh

    def read(self, example: int) -> Tensor:
        """(tokens, D) bfloat16, a copy."""
        rows = np.array(self._values[self._starts[example] : self._ends[example]])
        return torch.from_numpy(rows).view(torch.bfloat16)

    def write(self, example: int, values: Tensor) -> None:
        """Keep z (tokens, D)."""
        rows = values.to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy()
        self._values[self._starts[example] : self._ends[example]] = rows
        self._fresh.add(example)

    def flush(self) -> None:
        """Values first, then the word that they are there."""
        if not self._fresh:
            return
        self._values.flush()
        self._there[list(self._fresh)] = 1
        self._there.flush()
        self._fresh.clear()

    @property
    def count(self) -> int:
        return int(self._there.sum()) + len(self._fresh)


def _map(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not path.exists() or path.stat().st_size != size:
        with path.open("wb") as file:
            file.truncate(size)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)


def cache_key(backbone_sha256: str, precision: str, examples: list[Example]) -> str:
    """Everything that z depends on: the weights, the arithmetic, and the ids (so data, prompt format and length)."""
    digest = hashlib.sha256(json.dumps([VERSION, backbone_sha256, precision]).encode())
    for example in examples:
        digest.update(np.array([len(example.ids), *example.ids], dtype=np.int32).tobytes())
    return digest.hexdigest()[:20]


class CachedResponses:
    """``Responses`` whose batches bring their z along."""

    FLUSH_AFTER = 200
    """batches that wrote something"""

    def __init__(
        self, responses: Responses, backbone: LlamaForCausalLM, backbone_sha256: str, precision: str, folder: Path
    ) -> None:
        self.responses, self.backbone, self.precision = responses, backbone, precision
        lengths = [len(example.ids) - 1 for example in responses.examples]
        key = cache_key(backbone_sha256, precision, responses.examples)
        self.cache = FeatureCache(folder, key, lengths, backbone.config.hidden_size)
        self._written = 0

    def __len__(self) -> int:
        return len(self.responses)

    def batch(self, step: int, size: int) -> Batch:
        rows = self.responses.rows(step, size)
        batch = self.responses.batch(step, size)
        missing = [row for row in dict.fromkeys(rows) if not self.cache.has(row)]
        if missing:
            self._compute(missing)
        bottom_up = torch.zeros(*batch.ids.shape, self.backbone.config.hidden_size)  # (B, T, D)
        for place, row in enumerate(rows):
            known = self.cache.read(row)  # (t, D)
            bottom_up[place, : len(known)] = known
        return Batch(batch.ids, batch.labels, bottom_up)

    @torch.no_grad()
    def _compute(self, rows: list[int]) -> None:
        device = self.backbone.model.embed_tokens.weight.device
        batch = pad([self.responses.examples[row] for row in rows], self.responses.pad_id).to(device)
        shared = shared_prefix(batch.ids, batch.labels != IGNORED)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision.endswith("bf16")):
            bottom_up = self.backbone.bottom_up_sharing(self.backbone.embed(batch.ids), shared)  # (B, T, D)
        for place, row in enumerate(rows):
            self.cache.write(row, bottom_up[place, : len(self.responses.examples[row].ids) - 1])
        self._written += 1
        if self._written % self.FLUSH_AFTER == 0:
            self.cache.flush()
