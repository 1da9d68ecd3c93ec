"""What training makes small. An objective is a module whose forward turns a batch into sums that can be added up
over micro-batches and processes; the trainer divides them by the number of targets of the whole step."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor, nn

from toast.data import IGNORED, shared_prefix
from toast.llama import LlamaForCausalLM


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of -log p(label) in float32 over the labels that ask: (…, V), (…) -> ()."""
    return functional.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


class PlainObjective(nn.Module):
    """Next-token loss of the plain decoder: pre-training a base, full fine-tuning, LoRA.

    ``packed``: every position of a batch asks. Otherwise the output head, whose logits are the largest tensor of all,
    is computed only where something is asked, and (with ``share_prefix``) what all rows begin with only once.
    """

    def __init__(self, model: LlamaForCausalLM, *, packed: bool, share_prefix: bool = False) -> None:
        super().__init__()
        self.model, self.packed, self.share_prefix = model, packed, share_prefix

    def forward(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """ids, labels (B, T) -> {"cross_entropy": sum over targets ()}"""
        if self.packed:
            return {"cross_entropy": cross_entropy_sum(self.model(ids), labels)}
        asked = labels != IGNORED  # (B, T)
        shared = shared_prefix(ids, asked) if self.share_prefix else 0
        hidden = self.model.bottom_up_sharing(self.model.embed(ids), shared)  # (B, T, D)
        return {"cross_entropy": cross_entropy_sum(self.model.head(hidden[asked]), labels[asked])}


def trainable(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The named parameters that learn."""
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]


def freeze(module: nn.Module) -> None:
    """Let nothing of ``module`` learn."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, T) values where the mask is true; 0 when it nowhere is."""
    return (values * mask).sum() / mask.sum().clamp(min=1)
