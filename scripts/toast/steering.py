"""TOAST: the adapter that reads a frozen decoder's output and steers a second pass of it.

One steered forward is: bottom-up pass → feature selection → feedback path → steered pass. The adapter (task
embedding ξ, channel transform P, a carry and an emit map for every layer) is all that can be trained; the backbone
stays frozen.

See arXiv 2305.15542. The names on disk are those of the official checkpoints: toast.adapter_file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from toast.data import IGNORED, Batch, shared_prefix
from toast.llama import KVCache, LlamaForCausalLM
from toast.lora import LowRankLinear
from toast.objectives import cross_entropy_sum, freeze, mean_over

Selection = Literal["cosine", "none"]
"""How features are weighed: by their cosine to the task embedding, or (to learn what that is worth) all alike."""

Features = Literal["raw", "unit_rms"]
"""How large the selected features are: as the bottom-up pass leaves them, or each token's brought to a root mean square
of 1 first. Relevance is the same, since a cosine knows no lengths."""

MapStart = Literal["random", "zero", "identity"]
"""What a fresh feedback map is: N(0, initializer_range), as published; 0; or the map that changes nothing."""

SMALLEST_NORM = 1e-8
"""Lengths below this count as this, as in PyTorch's cosine_similarity; so a token of zeros selects zeros."""

DEAD_SHARE = 0.05
"""Below this share of tokens with positive relevance a fresh adapter counts as dead."""


class FeedbackLayer(nn.Module):
    """The feedback path's part at one decoder layer: ``x ← carry(x)``, then ``top-down value = emit(x)``."""

    other_entries = ("rebuild",)  # for toast.parallel: a unit of sharding, and its ways in besides forward

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.carry: nn.Linear | LowRankLinear = nn.Linear(hidden_size, hidden_size, bias=False)
        self.emit: nn.Linear | LowRankLinear = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """From the layer above (B, T, D) -> (carried to the layer below, emitted here), both (B, T, D)."""
        carried = self.carry(x)
        return carried, self.emit(carried)

    def rebuild(self, layer_output: Tensor) -> Tensor:
        """What the carry map takes the layer's input to have been, given its output: (B, T, D) -> (B, T, D)."""
        return self.carry(layer_output)


class SteeringAdapter(nn.Module):
    """ξ, P and the feedback path of L layers."""

    other_entries = ("select_features",)

    def __init__(self, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.task_embedding = nn.Parameter(torch.zeros(hidden_size))  # ξ (D,)
        self.channel_transform = nn.Parameter(torch.eye(hidden_size), requires_grad=False)  # P (D, D)
        self.feedback = nn.ModuleList(FeedbackLayer(hidden_size) for _ in range(layers))
        self.selection: Selection = "cosine"
        self.features: Features = "raw"
        self.rank: int | None = None
        self.alpha = 1.0

    @property
    def kind(self) -> str:
        """'full', or 'lite' once the feedback maps have low-rank factors."""
        return "full" if self.rank is None else "lite"

    def initialize(
        self,
        initializer_range: float,
        generator: torch.Generator | None = None,
        *,
        carry: MapStart = "random",
        emit: MapStart = "random",
    ) -> SteeringAdapter:
        """ξ ~ N(0, 1), P = identity, feedback maps ~ N(0, initializer_range) where nothing else is asked for."""
        with torch.no_grad():
            self.task_embedding.normal_(0.0, 1.0, generator=generator)
            nn.init.eye_(self.channel_transform)
            for layer in self.feedback:
                _start_map(layer.carry.weight, carry, initializer_range, generator)
                _start_map(layer.emit.weight, emit, initializer_range, generator)
        return self

    def add_low_rank(self, rank: int, alpha: float = 1.0) -> None:
        """Turn a full adapter into TOAST-Lite: every feedback map is frozen and gets factors of this rank."""
        if self.rank is not None:
            raise ValueError(f"this adapter has low-rank factors already (rank {self.rank})")
        for layer in self.feedback:
            layer.carry = LowRankLinear(layer.carry, rank, alpha)
            layer.emit = LowRankLinear(layer.emit, rank, alpha)
        self.rank, self.alpha = rank, alpha

    def train_for_pretuning(self) -> None:
        """Every feedback map and ξ learn; P does not."""
        if self.rank is not None:
            raise ValueError("pre-tuning trains whole feedback maps; start it from a full adapter")
        freeze(self)
        self.task_embedding.requires_grad_(True)
        self.feedback.requires_grad_(True)

    def train_for_tuning(self, maps: Literal["emit", "all"] = "emit") -> None:
        """Full: the emit maps (as published) or all feedback maps, and ξ. Lite: the low-rank factors and ξ.

        ξ stays as it is without selection: nothing depends on it.
        """
        freeze(self)
        self.task_embedding.requires_grad_(self.selection == "cosine")
        for layer in self.feedback:
            if self.rank is None:
                layer.emit.requires_grad_(True)
                layer.carry.requires_grad_(maps == "all")
            else:
                for linear in (layer.carry, layer.emit):
                    linear.lora_A.requires_grad_(True)
                    linear.lora_B.requires_grad_(True)

    def relevance(self, bottom_up: Tensor) -> Tensor:
        """How much each token matters to the task: clamp(cos(z, ξ), 0, 1), (B, T, D) -> (B, T), at least float32.

        1 for every token of an adapter without selection.
        """
        wide = torch.promote_types(bottom_up.dtype, torch.float32)
        if self.selection == "none":
            return torch.ones(bottom_up.shape[:-1], dtype=wide, device=bottom_up.device)  # (B, T)
        cosine = functional.cosine_similarity(bottom_up.to(wide), self.task_embedding.to(wide), dim=-1)  # (B, T)
        return cosine.clamp(0.0, 1.0)

    def select_features(self, bottom_up: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, T, D) -> selected features (B, T, D) and relevance (B, T)."""
        relevance = self.relevance(bottom_up)  # (B, T)
        weight = relevance[..., None]  # (B, T, 1)
        if self.features == "unit_rms":
            weight = weight / root_mean_square(bottom_up.to(weight.dtype))
        weighted = bottom_up.to(relevance.dtype) * weight  # (B, T, D)
        return weighted @ self.channel_transform.to(relevance.dtype), relevance

    def top_down_values(self, selected: Tensor) -> Tensor:
        """Walk the feedback path from the last layer to the first: (B, T, D) -> (L, B, T, D)."""
        x, emitted = selected, []
        for layer in reversed(self.feedback):
            x, value = layer(x)
            emitted.append(value)
        return torch.stack(emitted[::-1])


def _start_map(weight: Tensor, start: MapStart, spread: float, generator: torch.Generator | None) -> None:
    """Fill a map (D, D) in place."""
    if start == "random":
        weight.normal_(0.0, spread, generator=generator)
    elif start == "zero":
        nn.init.zeros_(weight)
    else:
        nn.init.eye_(weight)


def root_mean_square(x: Tensor) -> Tensor:
    """Of every token's channels, (..., D) -> (..., 1); never 0."""
    return x.norm(dim=-1, keepdim=True).clamp(min=SMALLEST_NORM) / x.shape[-1] ** 0.5


@dataclass
class SteeredCaches:
    """Both lanes' key/value caches; each pass has keys of its own."""

    bottom_up: KVCache
    steered: KVCache


@dataclass
class SteeredForward:
    """Everything one steered forward computed."""

    bottom_up: Tensor  # z (B, T, D): last layer's output before the final norm
    relevance: Tensor  # (B, T)
    top_down_values: Tensor  # (L, B, T, D), strength applied
    boundaries: list[Tensor]  # L+1 × (B, T, D): the steered pass's layer inputs, then its output before the norm
    logits: Tensor  # (B, T, V) of the steered pass; (N, V) where only N positions were asked for


class SteeredModel(nn.Module):
    """A frozen backbone with an adapter."""

    def __init__(self, backbone: LlamaForCausalLM, adapter: SteeringAdapter) -> None:
        super().__init__()
        config = backbone.config
        if len(adapter.feedback) != config.num_hidden_layers or adapter.task_embedding.numel() != config.hidden_size:
            raise ValueError(
                f"the adapter is for {len(adapter.feedback)} layers of {adapter.task_embedding.numel()} channels, "
                f"the backbone has {config.num_hidden_layers} of {config.hidden_size}"
            )
        freeze(backbone)
        self.backbone, self.adapter = backbone, adapter

    def forward(
        self,
        ids: Tensor,
        strength: float = 1.0,
        caches: SteeredCaches | None = None,
        asked: Tensor | None = None,
    ) -> SteeredForward:
        """ids (B, T) -> both passes. ``strength`` scales the top-down values; 0 is the backbone, bit for bit.

        ``asked`` (B, T) limits the logits to the positions where it is true.
        """
        embedded = self.backbone.embed(ids)  # (B, T, D)
        with torch.no_grad():  # nothing before the selection learns
            bottom_up = self.backbone.model.bottom_up(embedded, caches.bottom_up if caches else None)  # (B, T, D)
        return self.steer(embedded, bottom_up, strength, caches.steered if caches else None, asked)

    def steer(
        self,
        embedded: Tensor,
        bottom_up: Tensor,
        strength: float = 1.0,
        cache: KVCache | None = None,
        asked: Tensor | None = None,
    ) -> SteeredForward:
        """The second half of ``forward``: token embeddings and z, both (B, T, D) -> the steered pass."""
        selected, relevance = self.adapter.select_features(bottom_up)
        top_down = self.adapter.top_down_values(selected)  # (L, B, T, D)
        if strength != 1.0:
            top_down = top_down * strength
        top_down = top_down.to(embedded.dtype)  # a frozen backbone may be kept narrower than its adapter
        boundaries = self.backbone.model.steered(embedded, top_down, cache)
        last = boundaries[-1] if asked is None else boundaries[-1][asked]
        return SteeredForward(bottom_up, relevance, top_down, boundaries, self.backbone.head(last))

    def new_caches(self) -> SteeredCaches:
        return SteeredCaches(self.backbone.new_cache(), self.backbone.new_cache())


def feature_scale(adapter: SteeringAdapter, above: Tensor) -> Tensor:
    """What the reconstruction loss divides a layer's output (..., D) and input by: (..., 1), or 10 for raw features."""
    return root_mean_square(above) if adapter.features == "unit_rms" else above.new_tensor(10.0)


def reconstruction_loss(adapter: SteeringAdapter, boundaries: list[Tensor]) -> Tensor:
    """How badly the carry maps rebuild each layer's input from its output, summed over layers, ().

    Raw features: mse(carry_l(out_l)/10, in_l/10), as published. With unit RMS the maps see features of that size, and
    so they do here: each token's output and input are divided by the root mean square of the output. A token that is
    far larger than the others (the first one, as a rule) then counts as one token, and the loss of a layer is about
    the share of its input that is not rebuilt.

    The boundaries (L+1 × (B, T, D)) are detached: the loss teaches the feedback path, not the steered pass.
    """
    total = torch.zeros((), device=boundaries[0].device)
    for index, layer in enumerate(adapter.feedback):
        below, above = boundaries[index].detach().float(), boundaries[index + 1].detach().float()
        scale = feature_scale(adapter, above)
        total = total + functional.mse_loss(layer.rebuild(above / scale).float(), below / scale)
    return total


class SteeredObjective(nn.Module):
    """Next-token loss of the steered pass, with the reconstruction loss when pre-tuning (on packed text).

    ``share_prefix``: what all rows of a batch begin with (a chat template's opening) is computed once. Not together
    with gradient checkpointing, which would fill a cache twice.
    """

    def __init__(self, model: SteeredModel, *, reconstruct: bool, share_prefix: bool = False) -> None:
        super().__init__()
        self.model, self.reconstruct, self.share_prefix = model, reconstruct, share_prefix

    def forward(self, ids: Tensor, labels: Tensor, bottom_up: Tensor | None = None) -> dict[str, Tensor]:
        """ids, labels (B, T) -> cross-entropy sum, reconstruction loss, and how relevant the asked tokens are.

        ``bottom_up`` z (B, T, D) spares the first pass.
        """
        asked = labels != IGNORED  # (B, T)
        shared = shared_prefix(ids, asked) if self.share_prefix and not self.reconstruct and len(ids) > 1 else 0
        embedded = self.model.backbone.embed(ids)  # (B, T, D)
        if bottom_up is None:
            with torch.no_grad():
                bottom_up = self.model.backbone.bottom_up_sharing(embedded, shared)  # (B, T, D)
        cache = None
        if shared > 0:
            cache = self.model.backbone.new_cache()
            self.model.steer(embedded[:1, :shared], bottom_up[:1, :shared], cache=cache, asked=asked[:1, :shared])
            cache.repeat(len(ids))
            embedded, bottom_up = embedded[:, shared:], bottom_up[:, shared:]
            asked, labels = asked[:, shared:], labels[:, shared:]
        result = self.model.steer(embedded, bottom_up, cache=cache, asked=None if self.reconstruct else asked)
        parts = {
            "cross_entropy": cross_entropy_sum(result.logits, labels if self.reconstruct else labels[asked]),
            "relevance": mean_over(result.relevance.detach(), asked),
            "active": mean_over((result.relevance.detach() > 0).float(), asked),
        }
        if self.reconstruct:
            parts["reconstruction"] = reconstruction_loss(self.model.adapter, result.boundaries)
        return parts


@dataclass(frozen=True)
class WakeReport:
    """What the dead-start check saw on real text, after any flip."""

    mean_relevance: float
    active_share: float  # share of tokens with positive relevance
    flipped: bool


def _asked_outputs(model: SteeredModel, batches: Iterable[Batch]) -> Tensor:
    """The bottom-up pass's output z at every position that asks for a token: (tokens, D)."""
    outputs = [
        model.backbone.model.bottom_up(model.backbone.embed(batch.ids))[batch.labels != IGNORED] for batch in batches
    ]
    return torch.cat(outputs)


@torch.no_grad()
def wake(model: SteeredModel, batches: Iterable[Batch]) -> WakeReport:
    """Make sure that an adapter's relevance is not zero nearly everywhere; flip ξ's sign when it is.

    The last layer's outputs of a trained decoder share a direction, so an unlucky ξ has a negative cosine with nearly
    every token. Such an adapter does nothing and gets no gradient; its mirror image is alive.
    """
    hidden = _asked_outputs(model, batches)  # (tokens, D)
    relevance = model.adapter.relevance(hidden)  # (tokens,)
    flipped = bool((relevance > 0).float().mean() < DEAD_SHARE)
    if flipped:
        model.adapter.task_embedding.neg_()
        relevance = model.adapter.relevance(hidden)
    return WakeReport(float(relevance.mean()), float((relevance > 0).float().mean()), flipped)


@torch.no_grad()
def align(model: SteeredModel, batches: Iterable[Batch]) -> None:
    """Turn ξ, keeping its length, to the mean direction of the bottom-up pass's outputs on real text.

    A random ξ in few channels has a small cosine with most tokens, and the first thing that training then teaches it
    is to look away from feedback maps that know nothing yet (LOG.md). Along the mean direction every token is relevant
    from the start, and the maps learn first.
    """
    hidden = _asked_outputs(model, batches)  # (tokens, D)
    direction = functional.normalize(hidden.float(), dim=-1).mean(dim=0)  # (D,)
    task_embedding = model.adapter.task_embedding
    task_embedding.copy_(functional.normalize(direction, dim=0) * task_embedding.norm())
