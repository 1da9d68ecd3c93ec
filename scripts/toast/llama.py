"""LLaMA decoder in PyTorch: the backbone that stays frozen while an adapter steers it.

Parameter names are those of Hugging Face's ``LlamaForCausalLM``, so a state dict goes in and out of such a folder
without renaming (reading and writing folders is ``toast.checkpoint``'s work).

A layer can be walked in two ways, and the caller has to say which:

* ``forward``: the plain pass, queries, keys and values all read ``norm(h)``;
* ``steered``: the values read ``norm(h) + top_down``. The top-down values are a required argument: a steered pass
  that forgot them (for instance under gradient checkpointing) would silently be the plain model.

Letters: B batch, T new tokens, S cached tokens, L layers, H query heads, KV key/value heads, Hd head dim, D hidden,
F feed-forward, V vocab.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class UnsupportedModel(ValueError):
    """A config.json describes something this decoder does not compute. The message is one sentence for the user."""


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched: ``kind`` says which of the rest belongs to it.

    'default', 'linear' and 'llama3' are Hugging Face's. 'factors' (GGUF files): each of the Hd/2 frequencies is divided
    by its own of ``factors``, and all by ``factor``.
    """

    kind: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192
    factors: tuple[float, ...] = ()

    @staticmethod
    def from_hf(values: dict[str, Any] | None) -> RopeScaling:
        """Read ``rope_scaling`` / ``rope_parameters`` (either may name its kind ``type`` or ``rope_type``)."""
        if not values:
            return RopeScaling()
        kind = values.get("rope_type", values.get("type", "default"))
        if kind == "default":
            return RopeScaling()
        if kind == "linear":
            return RopeScaling(kind="linear", factor=float(values["factor"]))
        if kind == "llama3":
            return RopeScaling(
                kind="llama3",
                factor=float(values["factor"]),
                low_freq_factor=float(values["low_freq_factor"]),
                high_freq_factor=float(values["high_freq_factor"]),
                original_max_position_embeddings=int(values["original_max_position_embeddings"]),
            )
        raise UnsupportedModel(f"rope scaling '{kind}' is not supported (default, linear and llama3 are)")

    def to_hf(self) -> dict[str, Any] | None:
        if self.kind == "default":
            return None
        if self.kind == "linear":
            return {"rope_type": "linear", "factor": self.factor}
        if self.kind == "factors":
            raise UnsupportedModel("a config.json has no words for rotary factors as GGUF files have them")
        return {
            "rope_type": "llama3",
            "factor": self.factor,
            "low_freq_factor": self.low_freq_factor,
            "high_freq_factor": self.high_freq_factor,
            "original_max_position_embeddings": self.original_max_position_embeddings,
        }


@dataclass(frozen=True)
class LlamaConfig:
    """The shape of a decoder. ``from_hf`` and ``to_hf`` translate config.json of ``LlamaForCausalLM``."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling = field(default_factory=RopeScaling)
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    initializer_range: float = 0.02
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads != 0:
            raise UnsupportedModel(
                f"{self.num_attention_heads} query heads cannot share {self.num_key_value_heads} key/value heads"
            )
        if self.head_dim % 2 != 0:
            raise UnsupportedModel(f"rotary embedding needs an even head_dim, not {self.head_dim}")

    @staticmethod
    def from_hf(values: dict[str, Any]) -> LlamaConfig:
        """Raises UnsupportedModel when the folder is not a plain LLaMA."""
        architectures = values.get("architectures") or []
        if values.get("model_type", "llama") != "llama" or (architectures and architectures != ["LlamaForCausalLM"]):
            name = architectures[0] if architectures else values.get("model_type")
            raise UnsupportedModel(f"architecture '{name}' is not supported (LlamaForCausalLM is)")
        if values.get("hidden_act", "silu") != "silu":
            raise UnsupportedModel(f"activation '{values['hidden_act']}' is not supported (silu is)")
        hidden = int(values["hidden_size"])
        heads = int(values["num_attention_heads"])
        rope = values.get("rope_parameters") or {}
        eos = values.get("eos_token_id", 2)
        return LlamaConfig(
            vocab_size=int(values["vocab_size"]),
            hidden_size=hidden,
            intermediate_size=int(values["intermediate_size"]),
            num_hidden_layers=int(values["num_hidden_layers"]),
            num_attention_heads=heads,
            num_key_value_heads=int(values.get("num_key_value_heads") or heads),
            head_dim=int(values.get("head_dim") or hidden // heads),
            max_position_embeddings=int(values.get("max_position_embeddings", 2048)),
            rms_norm_eps=float(values.get("rms_norm_eps", 1e-6)),
            rope_theta=float(rope.get("rope_theta", values.get("rope_theta", 10000.0))),
            rope_scaling=RopeScaling.from_hf(rope or values.get("rope_scaling")),
            tie_word_embeddings=bool(values.get("tie_word_embeddings", False)),
            attention_bias=bool(values.get("attention_bias", False)),
            mlp_bias=bool(values.get("mlp_bias", False)),
            initializer_range=float(values.get("initializer_range", 0.02)),
            bos_token_id=values.get("bos_token_id", 1),
            # Generation may stop at several ids; training joins documents by one.
            eos_token_id=eos[0] if isinstance(eos, list) else eos,
            pad_token_id=values.get("pad_token_id"),
        )

    def to_hf(self, torch_dtype: str = "float32") -> dict[str, Any]:
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "rope_scaling": self.rope_scaling.to_hf(),
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": self.attention_bias,
            "attention_dropout": 0.0,
            "mlp_bias": self.mlp_bias,
            "initializer_range": self.initializer_range,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": self.eos_token_id,
            "pad_token_id": self.pad_token_id,
            "torch_dtype": torch_dtype,
            "use_cache": True,
        }


def rotary_frequencies(config: LlamaConfig) -> Tensor:
    """Inverse frequencies (Hd/2,) in float32, stretched as the config's rope scaling says.

    llama3: wavelengths shorter than original/high_freq_factor stay, longer than original/low_freq_factor are divided
    by ``factor``, and between the two the change is blended linearly.
    """
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim  # (Hd/2,)
    frequencies = 1.0 / config.rope_theta**exponents  # (Hd/2,)
    scaling = config.rope_scaling
    if scaling.kind == "default":
        return frequencies
    if scaling.kind == "linear":
        return frequencies / scaling.factor
    if scaling.kind == "factors":
        return frequencies / torch.tensor(scaling.factors) / scaling.factor
    original = scaling.original_max_position_embeddings
    wavelengths = 2 * math.pi / frequencies  # (Hd/2,)
    span = scaling.high_freq_factor - scaling.low_freq_factor
    blend = ((original / wavelengths - scaling.low_freq_factor) / span).clamp(0.0, 1.0)  # (Hd/2,) 1 = keep, 0 = stretch
    return (1 - blend) * frequencies / scaling.factor + blend * frequencies


class Rotation:
    """Cosines and sines of T positions, each (T, Hd): the first and the second half of a head rotate together."""

    def __init__(self, frequencies: Tensor, positions: Tensor) -> None:
        angles = positions.to(frequencies.dtype)[:, None] * frequencies[None, :]  # (T, Hd/2)
        angles = torch.cat((angles, angles), dim=-1)  # (T, Hd)
        self.cos = angles.cos()  # (T, Hd)
        self.sin = angles.sin()  # (T, Hd)

    def to(self, dtype: torch.dtype) -> Rotation:
        self.cos, self.sin = self.cos.to(dtype), self.sin.to(dtype)
        return self

    def apply(self, heads: Tensor) -> Tensor:
        """Rotate (B, heads, T, Hd)."""
        first, second = heads.chunk(2, dim=-1)
        turned = torch.cat((-second, first), dim=-1)  # (B, heads, T, Hd)
        return heads * self.cos.to(heads.dtype) + turned * self.sin.to(heads.dtype)


class LayerCache:
    """Rotated keys and values of one layer and one lane, each (B, KV, S, Hd); grows with every pass."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, KV, T, Hd) and return everything cached so far, (B, KV, S+T, Hd)."""
        if self.keys is None or self.values is None:
            self.keys, self.values = keys, values
        else:
            self.keys = torch.cat((self.keys, keys), dim=2)
            self.values = torch.cat((self.values, values), dim=2)
        return self.keys, self.values

    def repeat(self, rows: int) -> None:
        """Let ``rows`` sequences begin with what one has cached. Nothing is copied before they go on."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = (kept.expand(rows, -1, -1, -1) for kept in (self.keys, self.values))


class KVCache:
    """One lane's cache: a LayerCache for each layer. The two passes need one each (their keys differ)."""

    def __init__(self, layers: int) -> None:
        self.layers = [LayerCache() for _ in range(layers)]

    @property
    def length(self) -> int:
        keys = self.layers[0].keys
        return 0 if keys is None else keys.shape[2]

    def repeat(self, rows: int) -> None:
        """Let ``rows`` sequences begin with what one has cached."""
        for layer in self.layers:
            layer.repeat(rows)


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Causal grouped-query attention with rotary positions."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = config.head_dim
        bias = config.attention_bias
        self.q_proj = nn.Linear(config.hidden_size, self.heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(self.heads * self.head_dim, config.hidden_size, bias=bias)

    def forward(self, x: Tensor, rotation: Rotation, cache: LayerCache | None) -> Tensor:
        """Plain attention over the normed input (B, T, D)."""
        return self._attend(x, x, rotation, cache)

    def steered(self, x: Tensor, top_down: Tensor, rotation: Rotation, cache: LayerCache | None) -> Tensor:
        """Attention whose values also read ``top_down`` (B, T, D); queries and keys do not."""
        return self._attend(x, x + top_down, rotation, cache)

    def _attend(self, x: Tensor, value_input: Tensor, rotation: Rotation, cache: LayerCache | None) -> Tensor:
        batch, length, _ = x.shape
        queries = self._split(self.q_proj(x), self.heads)  # (B, H, T, Hd)
        keys = self._split(self.k_proj(x), self.kv_heads)  # (B, KV, T, Hd)
        values = self._split(self.v_proj(value_input), self.kv_heads)  # (B, KV, T, Hd)
        queries, keys = rotation.apply(queries), rotation.apply(keys)
        if cache is not None:
            keys, values = cache.append(keys, values)  # (B, KV, S+T, Hd)
        past = keys.shape[2] - length
        mask = None
        if past > 0 and length > 1:
            ones = torch.ones(length, past + length, dtype=torch.bool, device=x.device)
            mask = ones.tril(diagonal=past)  # (T, S+T)
        mixed = functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            is_causal=past == 0 and length > 1,
            enable_gqa=self.heads != self.kv_heads,
        )  # (B, H, T, Hd)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, self.heads * self.head_dim))  # (B, T, D)

    def weights(self, x: Tensor, rotation: Rotation) -> Tensor:
        """Where each position looks, given the normed input: (B, T, D) -> (B, H, T, T), rows sum to 1."""
        queries = rotation.apply(self._split(self.q_proj(x), self.heads))  # (B, H, T, Hd)
        keys = rotation.apply(self._split(self.k_proj(x), self.kv_heads))  # (B, KV, T, Hd)
        keys = keys.repeat_interleave(self.heads // self.kv_heads, dim=1)  # (B, H, T, Hd)
        scores = queries @ keys.transpose(-1, -2) / self.head_dim**0.5  # (B, H, T, T)
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(diagonal=1)
        return scores.masked_fill(future, float("-inf")).softmax(dim=-1)

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.view(x.shape[0], x.shape[1], heads, self.head_dim).transpose(1, 2)  # (B, heads, T, Hd)


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) · up(x))."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))  # (B, T, D)


class DecoderLayer(nn.Module):
    """One layer, walked plain (``forward``) or steered (``steered``, impossible without top-down values)."""

    other_entries = ("steered",)  # for toast.parallel: a unit of sharding, and its ways in besides forward

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, hidden: Tensor, rotation: Rotation, cache: LayerCache | None) -> Tensor:
        """(B, T, D) -> (B, T, D)"""
        return self._finish(hidden + self.self_attn(self.input_layernorm(hidden), rotation, cache))

    def steered(self, hidden: Tensor, top_down: Tensor, rotation: Rotation, cache: LayerCache | None) -> Tensor:
        """(B, T, D), (B, T, D) -> (B, T, D)"""
        return self._finish(hidden + self.self_attn.steered(self.input_layernorm(hidden), top_down, rotation, cache))

    def _finish(self, hidden: Tensor) -> Tensor:
        return hidden + self.mlp(self.post_attention_layernorm(hidden))  # (B, T, D)


class LlamaModel(nn.Module):
    """Embedding, layers and final norm. Both passes start from the same token embeddings and end before the norm."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gradient_checkpointing = False
        # A plain attribute, not a buffer: it must stay float32 whatever the weights are cast to.
        self.frequencies = rotary_frequencies(config)  # (Hd/2,)

    def rotation(self, start: int, length: int, device: torch.device) -> Rotation:
        """Rotation of the positions start … start+length-1."""
        if self.frequencies.device != device:
            if self.frequencies.is_meta:
                self.frequencies = rotary_frequencies(self.config)
            self.frequencies = self.frequencies.to(device)
        return Rotation(self.frequencies, torch.arange(start, start + length, device=device))

    def bottom_up(self, embedded: Tensor, cache: KVCache | None = None) -> Tensor:
        """The plain pass: token embeddings (B, T, D) -> last layer's output before the final norm (B, T, D)."""
        rotation = self.rotation(0 if cache is None else cache.length, embedded.shape[1], embedded.device)
        hidden = embedded
        for index, layer in enumerate(self.layers):
            layer_cache = None if cache is None else cache.layers[index]
            if self.gradient_checkpointing and torch.is_grad_enabled():
                hidden = checkpoint(layer, hidden, rotation, layer_cache, use_reentrant=False)
            else:
                hidden = layer(hidden, rotation, layer_cache)
        return hidden

    def steered(self, embedded: Tensor, top_down_values: Tensor, cache: KVCache | None = None) -> list[Tensor]:
        """The steered pass: embeddings (B, T, D) and top-down values (L, B, T, D) -> every layer boundary.

        Returns L+1 tensors (B, T, D): entry l is layer l's input, entry L the last layer's output before the final
        norm. The reconstruction loss reads all of them; generation reads the last.
        """
        if top_down_values.shape[0] != len(self.layers):
            raise ValueError(f"{top_down_values.shape[0]} top-down values for {len(self.layers)} layers")
        rotation = self.rotation(0 if cache is None else cache.length, embedded.shape[1], embedded.device)
        boundaries = [embedded]
        for index, layer in enumerate(self.layers):
            layer_cache = None if cache is None else cache.layers[index]
            arguments = (boundaries[-1], top_down_values[index], rotation, layer_cache)
            if self.gradient_checkpointing and torch.is_grad_enabled():
                boundaries.append(checkpoint(layer.steered, *arguments, use_reentrant=False))
            else:
                boundaries.append(layer.steered(*arguments))
        return boundaries


class LlamaForCausalLM(nn.Module):
    """The whole decoder with its output head. ``forward`` is the plain model: ids (B, T) -> logits (B, T, V)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = LlamaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def initialize(self, generator: torch.Generator | None = None) -> LlamaForCausalLM:
        """Fresh weights: N(0, initializer_range); matrices that write to the residual stream scaled by 1/√(2L)."""
        std = self.config.initializer_range
        for name, parameter in self.named_parameters():
            with torch.no_grad():
                if name.endswith("bias"):
                    parameter.zero_()
                elif parameter.dim() == 1:
                    parameter.fill_(1.0)
                else:
                    residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                    scale = std / math.sqrt(2 * self.config.num_hidden_layers) if residual else std
                    parameter.normal_(0.0, scale, generator=generator)
        return self

    def embed(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> embeddings (B, T, D)"""
        return self.model.embed_tokens(ids)

    def head(self, hidden: Tensor) -> Tensor:
        """Final norm and output head: (…, D) -> logits (…, V)."""
        return self.lm_head(self.model.norm(hidden))

    def forward(self, ids: Tensor, cache: KVCache | None = None, asked: Tensor | None = None) -> Tensor:
        """ids (B, T) -> logits (B, T, V); with ``asked`` (B, T), true at N positions, only of those: (N, V)."""
        hidden = self.model.bottom_up(self.embed(ids), cache)  # (B, T, D)
        return self.head(hidden if asked is None else hidden[asked])

    def new_cache(self) -> KVCache:
        return KVCache(self.config.num_hidden_layers)

    def bottom_up_sharing(self, embedded: Tensor, shared: int) -> Tensor:
        """``bottom_up`` of (B, T, D), whose rows begin with ``shared`` tokens alike: those are computed once."""
        if shared == 0 or len(embedded) == 1:
            return self.model.bottom_up(embedded)
        cache = self.new_cache()
        start = self.model.bottom_up(embedded[:1, :shared], cache)  # (1, P, D)
        cache.repeat(len(embedded))
        rest = self.model.bottom_up(embedded[:, shared:], cache)  # (B, T-P, D)
        return torch.cat((start.expand(len(embedded), -1, -1), rest), dim=1)

    def parameter_count(self) -> int:
        """Number of distinct weights (tied ones counted once)."""
        return sum(parameter.numel() for parameter in self.parameters())
