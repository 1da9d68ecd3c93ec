"""Held-out loss and perplexity, summed in float64 over every token asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from toast.data import Batch, Example, PackedBlocks, TokenFile, pad
from toast.objectives import cross_entropy_sum

Logits = Callable[[Tensor], Tensor]
"""ids (B, T) -> logits (B, T, V): a plain model, or a steered one at some strength"""


@torch.inference_mode()
def mean_loss(logits: Logits, batches: Iterable[Batch], title: str) -> dict[str, float | int]:
    """Mean -log p over all asked tokens, its exponential, and how many tokens that were."""
    total, tokens = 0.0, 0
    for batch in tqdm(batches, desc=title, unit="batch", mininterval=1):
        total += float(cross_entropy_sum(logits(batch.ids), batch.labels))
        tokens += batch.target_count
    loss = total / tokens
    return {"loss": loss, "perplexity": math.exp(loss), "tokens": tokens}


def response_batches(examples: list[Example], pad_id: int, size: int) -> list[Batch]:
    """Examples of like length together, so that little is padded."""
    ordered = sorted(examples, key=lambda example: len(example.ids))
    return [pad(ordered[start : start + size], pad_id) for start in range(0, len(ordered), size)]


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
