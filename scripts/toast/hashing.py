"""The backbone hash: which frozen weights an adapter was made for."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import torch

from toast.checkpoint import read_tensors, weight_files
from toast.files import BadFolder
from toast.gguf_file import GgufModel, open_gguf

_CHUNK = 8 << 20
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
}


def backbone_hash(folder: Path) -> str:
    """sha256 (hex) over a folder's tensors, independent of how they are spread over files.

    Tensors go in by name (order of the UTF-8 bytes), each as name, 0x00, dtype as safetensors writes it ("F32",
    "BF16", …), 0x00, dimensions joined by ",", 0x00, and its raw little-endian bytes. safetensors are read in chunks,
    so memory stays small for a model of any size; a .bin hashes like the safetensors made from it. Tensors of GGUF
    files go in as stored, under GGUF's names: type as ggml writes it ("Q4_1"), dimensions with a row's length first.
    """
    gguf = open_gguf(folder)
    if gguf is not None:
        return _hash_stored(gguf)
    if weight_files(folder)[0].suffix == ".bin":
        return _hash_pickled(folder)
    places = _places(folder)
    digest = hashlib.sha256()
    for name in sorted(places, key=lambda key: key.encode()):
        place = places[name]
        digest.update(_preamble(name, place.dtype, place.shape))
        with place.path.open("rb") as file:
            file.seek(place.start)
            left = place.size
            while left > 0:
                chunk = file.read(min(_CHUNK, left))
                if not chunk:
                    raise BadFolder(f"{place.path}: truncated inside tensor '{name}'")
                digest.update(chunk)
                left -= len(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class _Place:
    """Where a tensor's bytes lie."""

    path: Path
    start: int
    size: int
    dtype: str
    shape: list[int]


def _places(folder: Path) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    for path in weight_files(folder):
        with path.open("rb") as file:
            (header_size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(header_size))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            places[name] = _Place(path, 8 + header_size + start, end - start, entry["dtype"], entry["shape"])
    return places


def _preamble(name: str, dtype: str, shape: list[int]) -> bytes:
    return b"\0".join([name.encode(), dtype.encode(), ",".join(map(str, shape)).encode(), b""])


def _hash_stored(model: GgufModel) -> str:
    digest = hashlib.sha256()
    for tensor in model.stored():
        digest.update(_preamble(tensor.name, tensor.type_name, tensor.dimensions))
        for start in range(0, tensor.raw.size, _CHUNK):
            digest.update(tensor.raw[start : start + _CHUNK].tobytes())
    return digest.hexdigest()


def _hash_pickled(folder: Path) -> str:
    tensors = dict(read_tensors(folder))  # memory-mapped
    digest = hashlib.sha256()
    for name in sorted(tensors, key=lambda key: key.encode()):
        tensor = tensors[name].contiguous()
        digest.update(_preamble(name, _DTYPES[tensor.dtype], list(tensor.shape)))
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
