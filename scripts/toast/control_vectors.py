"""Control vectors: something added to the residual stream behind some layers, in the pass that decides.

The reference for the engine's graphs: ``additions`` (L, D) is what all vectors of a stack add up to, for every token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from toast.generate import Choose, greedy
from toast.llama import KVCache, LlamaModel
from toast.steering import SteeredModel


@dataclass(frozen=True)
class VectorUse:
    """One vector of a stack."""

    directions: Tensor  # (L, D)
    strength: float
    layers: tuple[int, int]  # first and last layer behind which it is added


def stack_additions(stack: Sequence[VectorUse]) -> Tensor:
    """What a stack adds behind each layer: (L, D)."""
    total = torch.zeros_like(stack[0].directions)
    for use in stack:
        first, last = use.layers
        total[first : last + 1] += use.strength * use.directions[first : last + 1]
    return total


def layer_outputs(
    model: LlamaModel,
    embedded: Tensor,
    additions: Tensor,
    top_down_values: Tensor | None = None,
    cache: KVCache | None = None,
) -> list[Tensor]:
    """One pass with additions (L, D): embeddings (B, T, D) -> L tensors (B, T, D), the additions included.

    ``top_down_values`` (L, B, T, D) make it the steered pass.
    """
    rotation = model.rotation(0 if cache is None else cache.length, embedded.shape[1], embedded.device)
    hidden, outputs = embedded, []
    for index, layer in enumerate(model.layers):
        layer_cache = None if cache is None else cache.layers[index]
        if top_down_values is None:
            hidden = layer(hidden, rotation, layer_cache)
        else:
            hidden = layer.steered(hidden, top_down_values[index], rotation, layer_cache)
        hidden = hidden + additions[index]
        outputs.append(hidden)
    return outputs


@torch.inference_mode()
def generate_with_vectors(
    model: SteeredModel,
    prompt: list[int],
    count: int,
    additions: Tensor,
    *,
    adapter: bool,
    choose: Choose = greedy,
) -> tuple[list[int], Tensor]:
    """Continue ``prompt`` with additions (L, D), alone or over the adapter -> (ids, logits they come from (n, V))."""
    backbone = model.backbone
    caches = model.new_caches()
    step = torch.tensor([prompt])  # (1, T)
    ids: list[int] = []
    rows: list[Tensor] = []
    while len(ids) < count:
        embedded = backbone.embed(step)  # (1, T, D)
        top_down = None
        if adapter:
            bottom_up = backbone.model.bottom_up(embedded, caches.bottom_up)  # (1, T, D)
            selected, _ = model.adapter.select_features(bottom_up)
            top_down = model.adapter.top_down_values(selected)  # (L, 1, T, D)
        hidden = layer_outputs(backbone.model, embedded, additions, top_down, caches.steered)[-1]
        logits = backbone.head(hidden)[0, -1]  # (V,)
        ids.append(choose(logits))
        rows.append(logits)
        step = torch.tensor([[ids[-1]]])  # (1, 1)
    return ids, torch.stack(rows)
