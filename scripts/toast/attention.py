"""What a steered model looks at and what it takes from there, by the parts of an instruction prompt.

The paper's section 4 does this for images; here it is done for language. Steering adds to values, and leaves a layer's
queries and keys alone; where a layer looks can only change by what the layers before it wrote. So two things are told
apart: where the response's tokens look, and what attention brings them from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from toast.chat_template import ChatTemplate, Message, TemplateError
from toast.llama import Attention, DecoderLayer, LlamaModel, Rotation
from toast.prompts import Instruction, SpecialIds, alpaca_examples, as_dialogue, chat_examples, format_alpaca
from toast.steering import SteeredModel

Part = Literal["start", "system", "template", "instruction", "input", "response"]
PARTS: tuple[Part, ...] = ("start", "system", "template", "instruction", "input", "response")
"""start: the first token, which attention rests on when it has nowhere to go; template: what the prompt's format itself
writes; response: what has been written so far, the looking token included"""

PLACEHOLDER = "\x02"

Span = tuple[int, int, Part]
"""(first character, one behind the last, part)"""


@dataclass(frozen=True)
class MarkedExample:
    """An instruction with its response, every token with the part it belongs to. What ends the response is left out."""

    ids: list[int]
    pieces: list[str]
    parts: list[Part]

    @property
    def present(self) -> list[Part]:
        """The parts that it has, in the order of PARTS."""
        return [part for part in PARTS if part in self.parts]


def mark(
    entry: Instruction, tokenizer: Tokenizer, special: SpecialIds, max_length: int, template: ChatTemplate | None = None
) -> MarkedExample:
    """Tokenize as in training, in the model's own template or, without one, in Alpaca's format.

    A token of the prompt belongs to the part that its middle stands in.
    """
    if template is None:
        prompt, lead = format_alpaca(entry.instruction, entry.input), 1  # BOS, which no character stands for
        spans: list[Span] = []
        asked_from = prompt.index("### Instruction:\n") + len("### Instruction:\n")
        example = alpaca_examples([entry], tokenizer, special)[0]
    else:
        dialogue = as_dialogue(entry)
        prompt, lead = template.render([{"role": "user", "content": dialogue[0][0]}], add_generation_prompt=True), 0
        spans = system_span(template)
        asked_from = max((end for _, end, _ in spans), default=0)
        example = chat_examples([dialogue], tokenizer, template, special)[0]
    for text, part in ((entry.instruction.strip(), "instruction"), (entry.input.strip(), "input")):
        if text:
            asked_from = prompt.index(text, asked_from)
            spans.append((asked_from, asked_from := asked_from + len(text), part))
    encoding = tokenizer.encode(prompt, add_special_tokens=False)
    middles = [(start + end) / 2 for start, end in encoding.offsets]
    parts: list[Part] = ["template"] * lead
    parts += [next((part for first, last, part in spans if first <= at < last), "template") for at in middles]
    parts = parts[: example.asked.index(True)]
    parts[0] = "start"
    parts += ["response"] * (len(example.ids) - len(parts))
    ids = example.ids[:-1][:max_length]
    return MarkedExample(ids, [tokenizer.id_to_token(number) for number in ids], parts[: len(ids)])


def system_span(template: ChatTemplate) -> list[Span]:
    """Where a template writes a system text of its own when a conversation brings none."""
    asked: Message = {"role": "user", "content": PLACEHOLDER}
    try:
        given = template.render([{"role": "system", "content": PLACEHOLDER * 2}, asked], add_generation_prompt=True)
    except TemplateError:
        return []  # it knows no system text
    before, found, after = given.partition(PLACEHOLDER * 2)
    own = template.render([asked], add_generation_prompt=True)
    if not found or len(own) <= len(before) + len(after) or not (own.startswith(before) and own.endswith(after)):
        return []
    return [(len(before), len(own) - len(after), "system")]


@dataclass(frozen=True)
class LayerAttention:
    """Attention of one layer, as the asking tokens (A of T) have it."""

    weights: Tensor  # (H, A, T)
    values: Tensor  # (H, T, Hd)


def layer_attentions(
    model: LlamaModel, boundaries: Sequence[Tensor], top_down: Sequence[Tensor] | None, asking: Tensor
) -> Iterator[LayerAttention]:
    """Each layer's attention, from the layers' inputs (1, T, D); ``top_down`` (1, T, D) is what values read besides."""
    rotation = model.rotation(0, boundaries[0].shape[1], boundaries[0].device)
    for index, layer in enumerate(model.layers):
        read = layer.input_layernorm(boundaries[index])  # (1, T, D)
        value_input = read if top_down is None else read + top_down[index]
        yield layer_attention(layer.self_attn, read, value_input, rotation, asking)


def layer_attention(
    attention: Attention, read: Tensor, value_input: Tensor, rotation: Rotation, asking: Tensor
) -> LayerAttention:
    weights = attention.weights(read, rotation)[0][:, asking]  # (H, A, T)
    values = attention.v_proj(value_input).view(read.shape[1], attention.kv_heads, attention.head_dim)
    values = values.transpose(0, 1).repeat_interleave(attention.heads // attention.kv_heads, dim=0)  # (H, T, Hd)
    return LayerAttention(weights, values)


def brought(weights: Tensor, values: Tensor, output: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """What attention's output gets from each part: weights (H, A, T), values (H, T, Hd), W_o (D, H·Hd) -> (P, A, D).

    Attention is linear in what it mixes, so the parts add up to the whole output (without a bias).
    """
    mixed = torch.stack([weights[:, :, at] @ values[:, at] for at in positions])  # (P, H, A, Hd)
    return mixed.permute(0, 2, 1, 3).flatten(2) @ output.T  # (P, A, D)


@dataclass(frozen=True)
class Seen:
    """One steering of one example against its base, by layer (L) and part (P); the last part is all of them together.

    Sizes are lengths of what attention adds to the residual stream, as shares of the length of all that it adds in the
    base, means over the response's tokens.
    """

    looked: np.ndarray  # (2, L, P+1): attention in the base and steered; all parts: 1
    size: np.ndarray  # (2, L, P+1): what is brought from a part, in the base and steered
    moved: np.ndarray  # (3, L, P+1): how far that moved; by looking elsewhere alone; by other values alone


MOVES = ("all", "by looking elsewhere", "by other values")


class BaseLook:
    """One example in the base, for any number of steerings to be held against. Parts that it lacks are not asked."""

    @torch.inference_mode()
    def __init__(self, model: SteeredModel, example: MarkedExample) -> None:
        self.example = example
        own = np.array(example.parts)
        self.parts = example.present
        self.positions = [torch.from_numpy(np.flatnonzero(own == part)) for part in self.parts]
        self.asking = self.positions[self.parts.index("response")]
        decoder = model.backbone.model
        self.embedded = model.backbone.embed(torch.tensor([example.ids]))  # (1, T, D)
        nothing = self.embedded.new_zeros(len(decoder.layers), *self.embedded.shape)
        boundaries = decoder.steered(self.embedded, nothing)
        self.bottom_up = boundaries[-1]  # z (1, T, D)
        self.layers = list(layer_attentions(decoder, boundaries, None, self.asking))
        self.brought = [
            self.bring(layer, seen.weights, seen.values)
            for layer, seen in zip(decoder.layers, self.layers, strict=True)
        ]

    @torch.inference_mode()
    def relevance(self, model: SteeredModel) -> dict[Part, float]:
        """Mean relevance of each part's tokens."""
        relevance = model.adapter.relevance(self.bottom_up)[0]  # (T,)
        return {part: float(relevance[place].mean()) for part, place in zip(self.parts, self.positions, strict=True)}

    @torch.inference_mode()
    def steered(self, model: SteeredModel, strength: float) -> Seen:
        """The same example steered by an adapter of the same backbone."""
        rows = []
        layers = zip(model.backbone.model.layers, self.layers, self.brought, self.attend(model, strength), strict=True)
        for layer, base, before, now in layers:
            after = self.bring(layer, now.weights, now.values)
            elsewhere = self.bring(layer, now.weights - base.weights, base.values)
            otherwise = self.bring(layer, base.weights, now.values - base.values)
            whole = length(before[-1])
            rows.append(
                torch.stack(
                    [
                        self.shares(base.weights),
                        self.shares(now.weights),
                        *(length(x) / whole for x in (before, after, after - before, elsewhere, otherwise)),
                    ]
                )
            )
        figures = torch.stack(rows, dim=1).numpy()  # (7, L, P+1)
        return Seen(figures[:2], figures[2:4], figures[4:])

    @torch.inference_mode()
    def by_token(self, model: SteeredModel, strength: float) -> dict[str, list[float]]:
        """Of every token (T): attention in the base and steered, and how far what it brings moves; means over layers.

        Sizes as in Seen.
        """
        tokens = [torch.tensor([at]) for at in range(len(self.example.ids))]
        rows = []
        layers = zip(model.backbone.model.layers, self.layers, self.attend(model, strength), strict=True)
        for layer, base, now in layers:
            output = layer.self_attn.o_proj.weight
            before = brought(base.weights, base.values, output, tokens)  # (T, A, D)
            moved = brought(now.weights, now.values, output, tokens) - before  # (T, A, D)
            looked = [side.weights.mean(dim=(0, 1)) for side in (base, now)]  # (T,)
            rows.append(torch.stack([*looked, length(moved) / length(before.sum(0))]))
        means = torch.stack(rows).mean(dim=0).numpy().round(6)  # (3, T)
        return dict(zip(("looked base", "looked", "moved"), means.tolist(), strict=True))

    def attend(self, model: SteeredModel, strength: float) -> Iterator[LayerAttention]:
        """Each layer's attention in the steered pass."""
        nowhere = torch.zeros(self.embedded.shape[:2], dtype=torch.bool)  # logits are not asked for
        forward = model.steer(self.embedded, self.bottom_up, strength, asked=nowhere)
        return layer_attentions(model.backbone.model, forward.boundaries, forward.top_down_values, self.asking)

    def bring(self, layer: DecoderLayer, weights: Tensor, values: Tensor) -> Tensor:
        """What attention brings from each part and from all: (P+1, A, D)."""
        parts = brought(weights, values, layer.self_attn.o_proj.weight, self.positions)  # (P, A, D)
        return torch.cat((parts, parts.sum(0, keepdim=True)))

    def shares(self, weights: Tensor) -> Tensor:
        """Of attention, on each part and on all: (H, A, T) -> (P+1,)."""
        each = weights.mean(dim=(0, 1))  # (T,)
        return torch.stack([*(each[place].sum() for place in self.positions), each.sum()])


def length(vectors: Tensor) -> Tensor:
    """Mean length over the asking tokens: (…, A, D) -> (…)."""
    return vectors.norm(dim=-1).mean(dim=-1)


@dataclass(frozen=True)
class Figure:
    """A mean over examples with its 95 % interval."""

    mean: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float], rounds: int = 2000, seed: int = 1) -> Figure:
        """Examples are drawn anew, with replacement (percentile method)."""
        array = np.array(values)
        picks = np.random.default_rng(seed).integers(len(array), size=(rounds, len(array)))  # (rounds, N)
        low, high = np.percentile(array[picks].mean(axis=1), [2.5, 97.5])
        return Figure(*(round(float(value), 6) for value in (array.mean(), low, high)))

    @property
    def listed(self) -> list[float]:
        return [self.mean, self.low, self.high]


GROUPS = ("all", "with input", "without input")


@dataclass(frozen=True)
class Steering:
    """What was looked at: the examples by one adapter at one strength."""

    adapter: str
    strength: float
    relevance: list[dict[Part, float]]  # of each example
    seen: list[Seen]


def summarize(steering: Steering, examples: Sequence[MarkedExample]) -> dict[str, object]:
    """As JSON. Figures are [mean, low, high] over the examples that have the part, of means over layers; differences
    are paired. ``layers`` has the means of each layer alone, over all examples.
    """
    groups: dict[str, object] = {}
    for group in GROUPS:
        wanted = {"all": (True, False), "with input": (True,), "without input": (False,)}[group]
        picked = [n for n, example in enumerate(examples) if ("input" in example.parts) in wanted]
        if picked:
            groups[group] = {"examples": len(picked)} | _parts(steering, examples, picked)
    layers: dict[str, object] = {}
    for part in (*PARTS, "all"):
        places = [(n, _place(example, part)) for n, example in enumerate(examples)]
        rows = [(steering.seen[n], place) for n, place in places if place is not None]
        if rows:
            figures = [np.concatenate([seen.looked, seen.size, seen.moved])[:, :, place] for seen, place in rows]
            means = np.mean(figures, axis=0).round(6).tolist()
            layers[part] = dict(zip(LAYER_FIGURES, means, strict=True))
    return {"adapter": steering.adapter, "strength": steering.strength, "groups": groups, "layers": layers}


LAYER_FIGURES = ("looked base", "looked", "brought base", "brought", *(f"moved {name}" for name in MOVES))


def _parts(steering: Steering, examples: Sequence[MarkedExample], picked: Sequence[int]) -> dict[str, object]:
    parts: dict[str, object] = {}
    for part in (*PARTS, "all"):
        having = [(n, place) for n in picked if (place := _place(examples[n], part)) is not None]
        if not having:
            continue
        looked = np.array([steering.seen[n].looked[:, :, place].mean(axis=1) for n, place in having])  # (N, 2)
        size = np.array([steering.seen[n].size[:, :, place].mean(axis=1) for n, place in having])  # (N, 2)
        moved = np.array([steering.seen[n].moved[:, :, place].mean(axis=1) for n, place in having])  # (N, 3)
        figures = {
            "looked base": looked[:, 0],
            "looked": looked[:, 1],
            "looked difference": looked[:, 1] - looked[:, 0],
            "brought base": size[:, 0],
            "brought": size[:, 1],
            "brought difference": size[:, 1] - size[:, 0],
            **{f"moved {name}": moved[:, at] for at, name in enumerate(MOVES)},
        }
        if part != "all":
            figures["relevance"] = np.array([steering.relevance[n][part] for n, _ in having])
            figures["tokens"] = np.array([examples[n].parts.count(part) for n, _ in having])
        parts[part] = {name: Figure.of(values).listed for name, values in figures.items()}
    return parts


def _place(example: MarkedExample, part: str) -> int | None:
    """Which column of an example's figures a part is."""
    present: list[str] = [*example.present, "all"]
    return present.index(part) if part in present else None
