"""GGUF files as frozen bases: what llama.cpp serves, read as the decoder of ``toast.llama`` computes it.

A weight is the dequantized one, so an adapter is trained on exactly the values that the converter reads from the same
file. llama.cpp turns neighbouring elements of a head with each other where Hugging Face turns the first half with the
second; its converter stores the rows of q and k in an order that makes up for it, and here that is undone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy
import torch
from gguf import GGUFReader, ReaderTensor
from gguf.quants import dequantize
from torch import Tensor

from toast.files import BadFolder
from toast.llama import LlamaConfig, RopeScaling, UnsupportedModel

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
READABLE_TYPES = (  # as in the converter
    *("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"),
)
_GLOBAL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ROPE_FACTORS = "rope_freqs.weight"
# Of the keys "llama.…": those that say what this decoder computes anyway, or nothing about it.
_KNOWN_KEYS = (
    *("block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size", "tensor_data_layout"),
    *("attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length"),
    *("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "rope.dimension_count", "rope.freq_base"),
    *("rope.scale_linear", "rope.scaling.type", "rope.scaling.factor"),
    *("rope.scaling.original_context_length", "rope.scaling.finetuned"),
)


def open_gguf(source: Path) -> GgufModel | None:
    """The model of a .gguf file, or of a folder that holds one and no safetensors; None when it is neither."""
    if source.is_dir() and any(source.glob("*.safetensors")):
        return None
    parts = gguf_parts(source)
    return None if parts is None else _read(tuple(parts), tuple(part.stat().st_mtime_ns for part in parts))


@lru_cache(maxsize=1)
def _read(parts: tuple[Path, ...], _changed: tuple[int, ...]) -> GgufModel:
    """Kept, because a command asks for config, weights and hash in turn, and walking 100,000 tokens takes seconds."""
    return GgufModel(list(parts))


def gguf_parts(path: Path) -> list[Path] | None:
    """The files of a GGUF model, the first part first: of any one of its files, or of the folder that holds it.

    None when ``path`` is neither. Raises BadFolder when a folder holds several models or a part is missing.
    """
    if path.suffix == ".gguf":
        if not path.is_file():
            raise BadFolder(f"{path} is not there")
        return _whole_set(path)
    if not path.is_dir():
        return None
    models = sorted({_whole_set(file)[0] for file in path.glob("*.gguf")})
    if len(models) > 1:
        names = ", ".join(model.name for model in models)
        raise BadFolder(f"{path}: several GGUF models are here ({names}); name one of them")
    return _whole_set(models[0]) if models else None


def _whole_set(file: Path) -> list[Path]:
    part = _PART.fullmatch(file.name)
    if part is None:
        return [file]
    count = int(part["count"])
    parts = [file.with_name(f"{part['stem']}-{number + 1:05d}-of-{count:05d}.gguf") for number in range(count)]
    missing = [path for path in parts if not path.is_file()]
    if missing:
        raise BadFolder(f"{missing[0]} is not there: {file.name} is one of {count} parts")
    return parts


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the file has it: dimensions in the file's order (a row's length first), raw bytes (uint8, mapped)."""

    name: str
    type_name: str
    dimensions: list[int]
    raw: numpy.ndarray


class GgufModel:
    """A LLaMA decoder in one or several GGUF files, memory-mapped.

    Raises BadFolder for files that cannot be read, UnsupportedModel for what the decoder does not compute.
    """

    def __init__(self, parts: list[Path]) -> None:
        self.path = parts[0]
        readers = [_open(part) for part in parts]
        self._fields = readers[0].fields
        self._tensors: dict[str, ReaderTensor] = {}
        for part, reader in zip(parts, readers, strict=True):
            for tensor in reader.tensors:
                if tensor.name in self._tensors:
                    raise BadFolder(f"{part}: tensor '{tensor.name}' is in another part as well")
                if tensor.data_offset + tensor.n_bytes > reader.data.size:
                    raise BadFolder(f"{part}: truncated inside tensor '{tensor.name}'")
                self._tensors[tensor.name] = tensor
        self._mapped = {tensor.name: reader.data for reader in readers for tensor in reader.tensors}
        self.config = self._read_config()

    def stored(self) -> Iterator[StoredTensor]:
        """Every tensor by name (order of the UTF-8 bytes)."""
        for name in sorted(self._tensors, key=lambda key: key.encode()):
            tensor = self._tensors[name]
            start = int(tensor.data_offset)
            raw = self._mapped[name][start : start + int(tensor.n_bytes)]
            yield StoredTensor(name, tensor.tensor_type.name, [int(size) for size in tensor.shape], raw)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every (Hugging Face name, float32 tensor) of the decoder, dequantized, one at a time."""
        for name, tensor in self._tensors.items():
            if name != _ROPE_FACTORS:
                yield self._hugging_face_name(name), self._floats(tensor)
        for name, size in self._absent_biases():
            yield name, torch.zeros(size)

    def chat_template(self) -> tuple[str, dict[str, str]] | None:
        """The Jinja source that the file brings, and its special tokens as tokenizer_config.json names them."""
        source = self._value("tokenizer.chat_template", str, "")
        pieces = self._fields.get("tokenizer.ggml.tokens")
        if not source or pieces is None:
            return None
        names = {"bos": "bos_token", "eos": "eos_token", "padding": "pad_token", "unknown": "unk_token"}
        ids = {ours: self._token(theirs) for theirs, ours in names.items()}
        return source, {name: pieces.contents(number) for name, number in ids.items() if number is not None}

    def _floats(self, tensor: ReaderTensor) -> Tensor:
        if tensor.tensor_type.name not in READABLE_TYPES:
            raise BadFolder(f"{self.path}: tensor '{tensor.name}' is {tensor.tensor_type.name}, which is not supported")
        values = torch.from_numpy(numpy.array(dequantize(tensor.data, tensor.tensor_type)))  # not mapped
        if ".attn_q." in tensor.name:
            return halves_of_heads(values, self.config.num_attention_heads)
        if ".attn_k." in tensor.name:
            return halves_of_heads(values, self.config.num_key_value_heads)
        return values

    def _hugging_face_name(self, name: str) -> str:
        if name in _GLOBAL_NAMES:
            return _GLOBAL_NAMES[name]
        match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
        if match is None or match[2] not in _LAYER_NAMES:
            raise UnsupportedModel(f"{self.path}: tensor '{name}' has no place in a plain LLaMA decoder")
        return f"model.layers.{match[1]}.{_LAYER_NAMES[match[2]]}.{match[3]}"

    def _absent_biases(self) -> Iterator[tuple[str, int]]:
        """llama.cpp takes each bias or leaves it; the decoder has all of a block's biases or none. Absent is zero."""
        for layer in range(self.config.num_hidden_layers):
            for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
                stem = f"blk.{layer}.{part}"
                wanted = self.config.attention_bias if part.startswith("attn") else self.config.mlp_bias
                if wanted and f"{stem}.bias" not in self._tensors and f"{stem}.weight" in self._tensors:
                    yield self._hugging_face_name(f"{stem}.bias"), int(self._tensors[f"{stem}.weight"].shape[1])

    def _has_bias(self, block: str) -> bool:
        return any(re.fullmatch(rf"blk\.\d+\.{block}_\w+\.bias", name) for name in self._tensors)

    def _read_config(self) -> LlamaConfig:
        architecture = self._value("general.architecture", str)
        if architecture != "llama":
            raise UnsupportedModel(f"{self.path}: architecture '{architecture}' is not supported (llama is)")
        self._refuse_what_is_not_computed()
        hidden = self._number("embedding_length")
        heads = self._number("attention.head_count")
        head_dim = self._number("attention.key_length", hidden // heads)
        for key in ("attention.value_length", "rope.dimension_count"):
            if self._number(key, head_dim) != head_dim:
                raise UnsupportedModel(f"{self.path}: llama.{key} {self._number(key)} is not the head size {head_dim}")
        embedding = self._tensors.get("token_embd.weight")
        if embedding is None:
            raise BadFolder(f"{self.path}: tensor 'token_embd.weight' is missing")
        return LlamaConfig(
            vocab_size=int(embedding.shape[-1]),
            hidden_size=hidden,
            intermediate_size=self._number("feed_forward_length"),
            num_hidden_layers=self._number("block_count"),
            num_attention_heads=heads,
            num_key_value_heads=self._number("attention.head_count_kv", heads),
            head_dim=head_dim,
            max_position_embeddings=self._number("context_length"),
            rms_norm_eps=float(self._value("llama.attention.layer_norm_rms_epsilon", float)),
            rope_theta=float(self._value("llama.rope.freq_base", float, 10000.0)),
            rope_scaling=self._rope_scaling(head_dim),
            tie_word_embeddings="output.weight" not in self._tensors,
            attention_bias=self._has_bias("attn"),
            mlp_bias=self._has_bias("ffn"),
            bos_token_id=self._token("bos"),
            eos_token_id=self._token("eos"),
            pad_token_id=self._token("padding"),
        )

    def _refuse_what_is_not_computed(self) -> None:
        for key, field in self._fields.items():
            if key.startswith("llama.") and key.removeprefix("llama.") not in _KNOWN_KEYS:
                harmless = key in ("llama.expert_count", "llama.expert_used_count") and field.contents() == 0
                if not harmless:
                    raise UnsupportedModel(f"{self.path}: {key} ({field.contents()}) is not supported")

    def _rope_scaling(self, head_dim: int) -> RopeScaling:
        kind = self._value("llama.rope.scaling.type", str, "linear")
        if kind not in ("none", "linear"):
            raise UnsupportedModel(f"{self.path}: rope scaling '{kind}' is not supported (none and linear are)")
        old_factor = self._value("llama.rope.scale_linear", float, 1.0)
        factor = float(self._value("llama.rope.scaling.factor", float, old_factor))
        if kind == "none" or factor == 0.0:
            factor = 1.0
        factors = self._tensors.get(_ROPE_FACTORS)
        if factors is None:
            return RopeScaling() if factor == 1.0 else RopeScaling(kind="linear", factor=factor)
        values = dequantize(factors.data, factors.tensor_type).flatten().tolist()
        if len(values) != head_dim // 2:
            raise BadFolder(f"{self.path}: {_ROPE_FACTORS} has {len(values)} factors, not {head_dim // 2}")
        return RopeScaling(kind="factors", factor=factor, factors=tuple(values))

    def _token(self, name: str) -> int | None:
        value = self._value(f"tokenizer.ggml.{name}_token_id", int, -1)
        return None if value < 0 else value

    def _number(self, key: str, default: int | None = None) -> int:
        return self._value(f"llama.{key}", int, default)

    def _value(self, key: str, kind: type, default: Any = None) -> Any:
        field = self._fields.get(key)
        if field is None:
            if default is None:
                raise BadFolder(f"{self.path}: {key} is missing")
            return default
        value = field.contents()
        if isinstance(value, list) and value and all(entry == value[0] for entry in value):
            value = value[0]  # a number for each layer, all of them the same
        if not isinstance(value, kind):
            raise BadFolder(f"{self.path}: {key} is no {kind.__name__}")
        return value


def halves_of_heads(rows: Tensor, heads: int) -> Tensor:
    """Rows of q or k (heads·Hd, …), from the order of pairs that turn together to that of halves that do."""
    pairs = rows.view(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])  # (heads, Hd/2, 2, …)
    return pairs.transpose(1, 2).reshape(rows.shape)


def gguf_name(name: str) -> str:
    """What llama.cpp calls a tensor of Hugging Face's name."""
    for stored, hugging_face in _GLOBAL_NAMES.items():
        if name == hugging_face:
            return stored
    match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    parts = {hugging_face: stored for stored, hugging_face in _LAYER_NAMES.items()}
    if match is None or match[2] not in parts:
        raise UnsupportedModel(f"tensor '{name}' has no name in a GGUF file")
    return f"blk.{match[1]}.{parts[match[2]]}.{match[3]}"


def pairs_of_heads(rows: Tensor, heads: int) -> Tensor:
    """The way back: what llama.cpp's converter does to q and k."""
    halves = rows.view(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])  # (heads, 2, Hd/2, …)
    return halves.transpose(1, 2).reshape(rows.shape)


def _open(path: Path) -> GGUFReader:
    try:
        return GGUFReader(path)
    except (ValueError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise BadFolder(f"{path}: not a GGUF file that can be read ({error})") from error
