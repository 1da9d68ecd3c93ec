"""Plain generation loops, the reference for every faster schedule: one forward per token, or two when steered."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from toast.llama import LlamaForCausalLM
from toast.steering import SteeredModel

Choose = Callable[[Tensor], int]
"""logits of one position (V,) -> token id"""


def greedy(logits: Tensor) -> int:
    return int(logits.argmax())


def sampler(temperature: float, top_k: int, seed: int) -> Choose:
    """Softmax sampling from the ``top_k`` likeliest tokens."""
    generator = torch.Generator().manual_seed(seed)

    def choose(logits: Tensor) -> int:
        values, ids = logits.float().topk(min(top_k, logits.numel()))  # (k,)
        return int(ids[torch.multinomial((values / temperature).softmax(-1), 1, generator=generator)])

    return choose


@torch.inference_mode()
def generate_plain(
    model: LlamaForCausalLM, prompt: list[int], count: int, choose: Choose = greedy, stop_id: int | None = None
) -> tuple[list[int], Tensor]:
    """Continue ``prompt`` with the plain model -> (ids, logits they were chosen from (n, V))."""
    cache = model.new_cache()
    step = torch.tensor([prompt])  # (1, T)
    ids: list[int] = []
    rows: list[Tensor] = []
    while len(ids) < count:
        logits = model(step, cache)[0, -1]  # (V,)
        ids.append(choose(logits))
        rows.append(logits)
        if ids[-1] == stop_id:
            break
        step = torch.tensor([[ids[-1]]])  # (1, 1)
    return ids, torch.stack(rows)


@torch.inference_mode()
def generate_steered(
    model: SteeredModel,
    prompt: list[int],
    count: int,
    choose: Choose = greedy,
    stop_id: int | None = None,
    strength: float = 1.0,
) -> tuple[list[int], Tensor]:
    """Continue ``prompt`` by two passes per token -> (ids, steered logits they were chosen from (n, V))."""
    caches = model.new_caches()
    step = torch.tensor([prompt])  # (1, T)
    ids: list[int] = []
    rows: list[Tensor] = []
    while len(ids) < count:
        logits = model(step, strength, caches).logits[0, -1]  # (V,)
        ids.append(choose(logits))
        rows.append(logits)
        if ids[-1] == stop_id:
            break
        step = torch.tensor([[ids[-1]]])  # (1, 1)
    return ids, torch.stack(rows)
