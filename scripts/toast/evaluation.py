"""Held-out loss and perplexity, summed in float64 over every token asked for, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor
from tqdm import tqdm

from toast.data import IGNORED, Batch, Example, PackedBlocks, TokenFile, pad

Logits = Callable[[Tensor], Tensor]
"""ids (B, T) -> logits (B, T, V): a plain model, or a steered one at some strength"""


@dataclass(frozen=True)
class Losses:
    """What each example (or block of text) cost: the unit that a measurement is repeated over."""

    sums: np.ndarray  # (N,) float64, -log p summed over the asked tokens of one example
    tokens: np.ndarray  # (N,) int64, how many those were

    @property
    def mean(self) -> float:
        """Nats per token, over all of them."""
        return float(self.sums.sum() / self.tokens.sum())

    def interval(self, rounds: int = 2000, seed: int = 1) -> tuple[float, float]:
        """95 % bootstrap interval of the mean: examples are drawn anew, with replacement (percentile method)."""
        picks = np.random.default_rng(seed).integers(len(self.sums), size=(rounds, len(self.sums)))  # (rounds, N)
        means = self.sums[picks].sum(axis=1) / self.tokens[picks].sum(axis=1)
        low, high = np.percentile(means, [2.5, 97.5])
        return float(low), float(high)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """For a file that several measurements share."""
        return {f"{name}/sums": self.sums, f"{name}/tokens": self.tokens}

    def described(self, bytes_per_token: float | None = None) -> dict[str, object]:
        """As JSON; with ``bytes_per_token`` also in bits per byte, which compares between tokenizers."""
        low, high = self.interval()
        bits = {} if bytes_per_token is None else {"bits_per_byte": self.mean / math.log(2) / bytes_per_token}
        return {
            "loss": self.mean,
            "loss_interval": [low, high],
            "perplexity": math.exp(self.mean),
            "perplexity_interval": [math.exp(low), math.exp(high)],
            **bits,
            "tokens": int(self.tokens.sum()),
        }


@torch.inference_mode()
def measure_losses(logits: Logits, batches: Iterable[Batch], title: str) -> Losses:
    """The losses of all examples, in the order in which the batches bring them."""
    sums: list[float] = []
    tokens: list[int] = []
    for batch in tqdm(batches, desc=title, unit="batch", mininterval=1):
        sums += row_losses(logits(batch.ids), batch.labels).tolist()
        tokens += (batch.labels != IGNORED).sum(dim=1).tolist()
    return Losses(np.array(sums), np.array(tokens))


def row_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p summed over each row's asked tokens, float64: (B, T, V), (B, T) -> (B,)."""
    each = functional.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return each.double().view(labels.shape).sum(dim=1)


Half = Literal["choosing", "reporting"]


def half_of(examples: list[Example], which: Half) -> list[Example]:
    """Every other example: settings are chosen on one half and reported on the other."""
    return examples[0 if which == "choosing" else 1 :: 2]


@dataclass(frozen=True)
class OrderedResponses:
    """Held-out examples in batches of like length, so that little is padded, and where each one came from."""

    batches: list[Batch]
    order: np.ndarray  # (N,) int64: the example behind each row of the batches

    def in_file_order(self, losses: Losses) -> Losses:
        back = np.argsort(self.order)
        return Losses(losses.sums[back], losses.tokens[back])


def response_batches(examples: list[Example], pad_id: int, size: int) -> OrderedResponses:
    order = np.array(sorted(range(len(examples)), key=lambda index: len(examples[index].ids)))
    rows = [examples[index] for index in order]
    return OrderedResponses([pad(rows[start : start + size], pad_id) for start in range(0, len(rows), size)], order)


def text_batches(tokens: TokenFile, block: int, size: int, max_blocks: int | None) -> Iterator[Batch]:
    """The first blocks of packed text, in order."""
    blocks = PackedBlocks(tokens.ids, block, seed=0)
    count = len(blocks) if max_blocks is None else min(max_blocks, len(blocks))
    for start in range(0, count, size):
        rows = [
            torch.from_numpy(tokens.ids[row * block : (row + 1) * block + 1].astype("int64"))
            for row in range(start, min(start + size, count))
        ]
        window = torch.stack(rows)  # (B, T+1)
        yield Batch(window[:, :-1], window[:, 1:])
