"""Low-rank additions to a frozen matrix: inside TOAST-Lite's feedback path, and as LoRA, a rival of it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


class LowRankLinear(nn.Module):
    """y = x (W + (alpha/r)·B·A)ᵀ + b with W and b frozen, A (r, in) and B (out, r) trained.

    B starts at zero, so a fresh one computes what W does.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().clone(), requires_grad=False)  # (out, in)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.lora_A = nn.Parameter(torch.empty(rank, linear.in_features))
        self.lora_B = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        low = functional.linear(functional.linear(x, self.lora_A), self.lora_B)  # (…, out)
        return functional.linear(x, self.weight, self.bias) + self.scale * low

    def merged(self) -> Tensor:
        """The one matrix (out, in) that does the same."""
        return self.weight + self.scale * (self.lora_B @ self.lora_A)


def add_lora(model: nn.Module, targets: Iterable[str], rank: int, alpha: float) -> list[str]:
    """Freeze ``model`` and give every linear layer whose name ends in one of ``targets`` low-rank factors.

    Returns the names of the replaced layers. Raises ValueError when nothing matches.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    wanted = tuple(targets)
    chosen = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in wanted
    ]
    if not chosen:
        raise ValueError(f"no linear layer is called {' or '.join(wanted)}")
    for name in chosen:
        parent_name, _, child = name.rpartition(".")
        parent = model.get_submodule(parent_name)
        setattr(parent, child, LowRankLinear(getattr(parent, child), rank, alpha))
    return chosen


def merge_lora(weights: dict[str, Tensor], factors: dict[str, Tensor], rank: int, alpha: float) -> dict[str, Tensor]:
    """Base weights plus trained factors (``{name}.lora_A`` / ``.lora_B``) -> merged weights under the base's names."""
    merged = dict(weights)
    for name, down in factors.items():
        if not name.endswith(".lora_A"):
            continue
        layer = name.removesuffix(".lora_A")
        up = factors[f"{layer}.lora_B"]
        weight = weights[f"{layer}.weight"]
        merged[f"{layer}.weight"] = weight + (alpha / rank) * (up @ down).to(weight.dtype)
    return merged
