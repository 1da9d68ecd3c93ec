"""What training an adapter costs, worked out from the shape of the backbone: operations for each token, and memory.

Counted are matrix products, two operations for a multiplication with its addition, and not attention's scores and sums:
they grow with the length of the text and come to a few per cent of blocks of 512 tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from toast.llama import LlamaConfig

Stage = Literal["pretuning", "tuning"]


@dataclass(frozen=True)
class Parameters:
    """Weights that a token is multiplied with."""

    layers: int  # all projections of all decoder layers
    head: int
    maps: int  # carry maps, or as many emit maps
    embedding: int  # looked up, not multiplied


def parameters(config: LlamaConfig) -> Parameters:
    size, kv = config.hidden_size, config.num_key_value_heads * config.head_dim
    attention = 2 * size * config.num_attention_heads * config.head_dim + 2 * size * kv
    layer = attention + 3 * size * config.intermediate_size
    table = config.vocab_size * size
    embedding = 0 if config.tie_word_embeddings else table
    return Parameters(config.num_hidden_layers * layer, table, config.num_hidden_layers * size * size, embedding)


def operations_per_token(
    config: LlamaConfig, stage: Stage, *, asked: float = 1.0, first_pass: bool = True, checkpointing: bool = False
) -> float:
    """Of a training step, for each token that goes in.

    Weights of the backbone: the first pass; the steered pass; its gradients, of what goes in only, since no weight of
    the backbone learns. The head only where a token is asked for (``asked``: their share). Maps: forward; gradients of
    what goes in; gradients of the maps that learn (pre-tuning: both, and the reconstruction loss runs the carry maps
    again).
    ``first_pass`` false: z comes from disk. ``checkpointing``: the steered pass is computed twice.
    """
    p = parameters(config)
    passes = (2 if first_pass else 0) + 2 + 2 + (2 if checkpointing else 0)
    # Carry and emit forward (4), what goes into them backward (4), then the gradients of those that learn.
    maps = 8 + (4 + 4 if stage == "pretuning" else 2)
    return passes * p.layers + 4 * p.head * asked + maps * p.maps


def memory_bytes(
    config: LlamaConfig,
    stage: Stage,
    *,
    backbone_bytes: int = 2,
    tokens: int = 2048,
    asked: float = 1.0,
    checkpointing: bool = True,
    processes: int = 1,
) -> dict[str, float]:
    """What a step of ``tokens`` tokens holds at its worst on each of ``processes`` GPUs, by part, in bytes.

    With several, weights and what belongs to them are sharded (FSDP2), and two layers are gathered at a time: one that
    is computed and the next one, with its map.

    backbone     frozen weights of ``backbone_bytes`` each
    adapter      fp32 maps; those that learn have a gradient and two moments of AdamW beside them
    activations  bf16: with checkpointing what goes into every layer, top-down values and their gradients, and one
                 layer's inner values; without it every layer's inner values
    logits       fp32, twice, where a token is asked for
    """
    p = parameters(config)
    learning = 2 if stage == "pretuning" else 1
    size, inner = config.hidden_size, config.intermediate_size
    layer = tokens * (10 * size + 5 * inner) * 2
    between = 3 * config.num_hidden_layers * tokens * size * 2
    gathered = 2 * (p.layers * backbone_bytes + learning * p.maps * 8) / config.num_hidden_layers
    return {
        "backbone": (p.layers + p.head + p.embedding) * backbone_bytes / processes,
        "adapter": (learning * p.maps * 16 + (2 - learning) * p.maps * 4) / processes,
        "gathered": gathered + (p.head + p.embedding) * backbone_bytes if processes > 1 else 0.0,
        "activations": float(between + layer * (1 if checkpointing else config.num_hidden_layers)),
        "logits": float(2 * tokens * asked * config.vocab_size * 4),
    }


def traffic_bytes(config: LlamaConfig, stage: Stage, *, backbone_bytes: int = 2, processes: int = 2) -> float:
    """What each GPU receives for one forward and backward, in bytes: it grows with neither tokens nor batch.

    Sharded weights are gathered for the first pass, for the steered one and for its gradients; maps for the steered
    pass and its gradients, and the gradients of those that learn are scattered.
    """
    p = parameters(config)
    learning = 2 if stage == "pretuning" else 1
    backbone = 3 * (p.layers + p.head + p.embedding) * backbone_bytes
    maps = 2 * 2 * p.maps * 4 + learning * p.maps * 4
    return (backbone + maps) * (processes - 1) / processes
