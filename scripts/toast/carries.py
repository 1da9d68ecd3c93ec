"""Carry maps without training: what the reconstruction loss wants is a linear least-squares problem."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from toast.data import Batch
from toast.steering import SteeredModel, feature_scale

RIDGE = 1e-4
"""Of the outputs' mean square: keeps a direction that hardly occurs from deciding anything."""


@torch.no_grad()
def solve_carries(model: SteeredModel, batches: Iterable[Batch]) -> float:
    """Set every carry map of a full adapter to the one that rebuilds its layer's input best on these batches.

    For layer outputs o and inputs i (row vectors, scaled as the reconstruction loss scales them) that is
    Cᵀ = (Σ oᵀo + λI)⁻¹ Σ oᵀi. The boundaries are those of the backbone alone, as they are for an adapter whose emit
    maps are zero. Returns the reconstruction loss on the same batches.
    """
    layers, hidden = len(model.adapter.feedback), model.backbone.config.hidden_size
    device = model.backbone.model.embed_tokens.weight.device
    outputs = torch.zeros(layers, hidden, hidden, dtype=torch.float64)  # Σ oᵀo
    mixed = torch.zeros_like(outputs)  # Σ oᵀi
    inputs = torch.zeros(layers, dtype=torch.float64)  # Σ |i|²
    tokens = 0
    for batch in batches:
        embedded = model.backbone.embed(batch.ids.to(device))  # (B, T, D)
        nothing = embedded.new_zeros(layers, 1, 1, 1)
        boundaries = model.backbone.model.steered(embedded, nothing)
        tokens += batch.ids.numel()
        for layer in range(layers):
            below, above = _rows(boundaries[layer]), _rows(boundaries[layer + 1])  # (B·T, D)
            scale = feature_scale(model.adapter, above)
            below, above = below / scale, above / scale
            outputs[layer] += (above.T @ above).cpu()
            mixed[layer] += (above.T @ below).cpu()
            inputs[layer] += below.double().square().sum().cpu()
    total = 0.0
    for layer, feedback in enumerate(model.adapter.feedback):
        level = outputs[layer].diagonal().mean() * RIDGE
        carry = torch.linalg.solve(outputs[layer] + level * torch.eye(hidden, dtype=torch.float64), mixed[layer])
        feedback.carry.weight.copy_(carry.T)
        left = inputs[layer] - 2 * (carry * mixed[layer]).sum() + (carry * (outputs[layer] @ carry)).sum()
        total += float(left) / (tokens * hidden)
    return total


def _rows(boundary: Tensor) -> Tensor:
    return boundary.float().flatten(0, 1)
