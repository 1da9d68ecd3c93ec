"""What a steered model looks at: relevance and attention by the parts of an instruction prompt.

The paper's section 4 does this for images; here it is done for language.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from toast.llama import LlamaModel
from toast.prompts import Instruction, SpecialIds, format_alpaca
from toast.steering import SteeredModel

Part = Literal["start", "boilerplate", "instruction", "input", "response"]
PARTS: tuple[Part, ...] = ("start", "boilerplate", "instruction", "input", "response")
"""start: the BOS token, which attention rests on when it has nowhere to go; boilerplate: what every prompt says"""


@dataclass(frozen=True)
class MarkedExample:
    """An instruction with its response, every token with the part it belongs to."""

    ids: list[int]
    pieces: list[str]
    parts: list[Part]


def mark(entry: Instruction, tokenizer: Tokenizer, special: SpecialIds, max_length: int) -> MarkedExample:
    """Tokenize as in training; a token belongs to the part that its first character stands in."""
    prompt = format_alpaca(entry.instruction, entry.input)
    spans: list[tuple[int, int, Part]] = []
    at = prompt.index("### Instruction:\n") + len("### Instruction:\n")
    spans.append((at, at + len(entry.instruction), "instruction"))
    if entry.input:
        at = prompt.index("### Input:\n", at + len(entry.instruction)) + len("### Input:\n")
        spans.append((at, at + len(entry.input), "input"))
    spans.append((len(prompt), len(prompt) + len(entry.output), "response"))
    encoding = tokenizer.encode(prompt + entry.output, add_special_tokens=False)
    parts: list[Part] = ["start"]
    for start, end in encoding.offsets:
        middle = (start + end) / 2
        parts.append(next((part for first, last, part in spans if first <= middle <= last), "boilerplate"))
    ids = [special.bos, *encoding.ids][:max_length]
    return MarkedExample(ids, ["<s>", *encoding.tokens][: len(ids)], parts[: len(ids)])


def layer_attention(model: LlamaModel, boundaries: list[Tensor]) -> Iterable[Tensor]:
    """Attention weights (B, H, T, T) of each layer, from the layers' inputs (B, T, D)."""
    rotation = model.rotation(0, boundaries[0].shape[1], boundaries[0].device)
    for layer, entering in zip(model.layers, boundaries, strict=False):
        yield layer.self_attn.weights(layer.input_layernorm(entering), rotation)


@dataclass(frozen=True)
class Looked:
    """One example, looked at by both passes."""

    relevance: np.ndarray  # (T,)
    before: np.ndarray  # (L, T, T), bottom-up pass, mean over heads
    after: np.ndarray  # (L, T, T), steered pass


@torch.inference_mode()
def look(model: SteeredModel, ids: list[int]) -> Looked:
    batch = torch.tensor([ids])  # (1, T)
    forward = model(batch)
    decoder = model.backbone.model
    nothing = torch.zeros_like(forward.top_down_values)
    plain = decoder.steered(model.backbone.embed(batch), nothing)  # the bottom-up pass, with its boundaries
    before = [weights.mean(dim=1)[0].numpy() for weights in layer_attention(decoder, plain)]
    after = [weights.mean(dim=1)[0].numpy() for weights in layer_attention(decoder, forward.boundaries)]
    return Looked(forward.relevance[0].numpy(), np.stack(before), np.stack(after))


@dataclass(frozen=True)
class PartSummary:
    """Means over examples, with their standard errors; a part that an example lacks does not count there."""

    relevance: dict[Part, tuple[float, float]]
    before: dict[Part, tuple[float, float]]  # share of the response tokens' attention that falls on each part
    after: dict[Part, tuple[float, float]]
    before_by_layer: dict[Part, list[float]]
    after_by_layer: dict[Part, list[float]]
    examples: int


def summarize(looked: Iterable[tuple[MarkedExample, Looked]]) -> PartSummary:
    relevance: dict[Part, list[float]] = defaultdict(list)
    shares = {"before": defaultdict(list), "after": defaultdict(list)}  # part -> (L,) for each example
    count = 0
    for example, seen in looked:
        parts = np.array(example.parts)
        asking = parts == "response"  # (T,): who looks
        if not asking.any():
            continue
        count += 1
        for part in PARTS:
            of_part = parts == part  # (T,)
            if not of_part.any():
                continue
            relevance[part].append(float(seen.relevance[of_part].mean()))
            for name, weights in (("before", seen.before), ("after", seen.after)):
                shares[name][part].append(weights[:, asking][:, :, of_part].sum(axis=2).mean(axis=1))  # (L,)

    def mean(values: list[float]) -> tuple[float, float]:
        array = np.array(values)
        return float(array.mean()), float(array.std(ddof=1) / np.sqrt(len(array))) if len(array) > 1 else 0.0

    return PartSummary(
        {part: mean(values) for part, values in relevance.items()},
        *({part: mean([float(row.mean()) for row in rows]) for part, rows in shares[n].items()} for n in shares),
        *({part: np.mean(rows, axis=0).tolist() for part, rows in shares[n].items()} for n in shares),
        count,
    )
