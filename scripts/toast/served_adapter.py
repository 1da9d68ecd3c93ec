"""Adapters as they are served: read from a converted folder, and brought back into the form that is trained.

Conversion folds the feedback path with the value projections into one matrix a layer (src/convert/fold.ts), so what was
trained cannot be had back, but an adapter that steers alike can.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from toast.files import BadFolder
from toast.steering import Features, SteeringAdapter

LARGEST_BLOCK = 64
"""Channels that the converter turns together, at most (src/model/rotation.ts)."""

UNFOLDED = 1e-4
"""How far, relative to the folded matrix, an unfolded one may be from it."""


@dataclass(frozen=True)
class ServedAdapter:
    """What the graph of a converted adapter computes: Δv_l = F_l (z · relevance)."""

    task_direction: Tensor  # ξ / |ξ| (D,), float32
    folded: list[Tensor]  # L × F_l (kv, D), float64: integers times their scales where it is int8
    features: Features
    manifest: dict[str, Any]


def read_served(folder: Path) -> ServedAdapter:
    """Read manifest.json and adapter.onnx with its weights. Raises BadFolder."""
    described_at = folder / "manifest.json"
    if not described_at.is_file():
        raise BadFolder(f"{folder}: no manifest.json here; name the folder of a converted adapter")
    manifest = json.loads(described_at.read_text())
    if manifest.get("format") != "toast-serve/adapter" or manifest.get("version") != 1:
        raise BadFolder(f"{described_at}: not a toast-serve/adapter of version 1")
    graph = onnx.load(folder / manifest["files"]["graph"]["name"]).graph
    weights = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    shape, quantized = manifest["shape"], manifest["quantization"] != "none"
    folded = []
    for layer in range(shape["layers"]):
        matrix = torch.from_numpy(weights[f"layers.{layer}.folded"].astype(np.float64))  # (kv, D)
        if quantized:
            scales = torch.from_numpy(weights[f"layers.{layer}.folded.scales"].astype(np.float64))  # (kv,)
            matrix = turned(matrix * scales[:, None])
        folded.append(matrix)
    direction = torch.from_numpy(weights["task_direction"].copy())
    return ServedAdapter(direction, folded, manifest.get("features", "raw"), manifest)


def turned(rows: Tensor) -> Tensor:
    """Each run of a block's channels times the Hadamard matrix, which undoes itself: (N, D) -> (N, D)."""
    size = rows.shape[1]
    block = LARGEST_BLOCK
    while block > 1 and (size % block != 0 or size // block < 2):
        block //= 2
    matrix = torch.ones(1, 1, dtype=rows.dtype)
    while len(matrix) < block:
        matrix = torch.cat((torch.cat((matrix, matrix), 1), torch.cat((matrix, -matrix), 1))) / 2**0.5
    return (rows.view(len(rows), -1, block) @ matrix).view(len(rows), size)


def unfold(served: ServedAdapter, value_projections: Sequence[Tensor]) -> SteeringAdapter:
    """An adapter with carry maps that change nothing, whose emit maps times W_v are the folded matrices.

    ``value_projections``: W_v (kv, D) of each layer. Raises BadFolder where a value projection has not its full rank,
    so that no emit map can bring about what was folded.
    """
    adapter = SteeringAdapter(served.task_direction.numel(), len(served.folded))
    adapter.features = served.features
    with torch.no_grad():
        adapter.task_embedding.copy_(served.task_direction)
        for number, (layer, folded, projection) in enumerate(
            zip(adapter.feedback, served.folded, value_projections, strict=True)
        ):
            layer.carry.weight.copy_(torch.eye(served.task_direction.numel()))
            layer.emit.weight.copy_(torch.linalg.pinv(projection.double()) @ folded)  # (D, kv) (kv, D)
            apart = (projection.double() @ layer.emit.weight.double() - folded).norm() / folded.norm()
            if apart > UNFOLDED:
                raise BadFolder(f"the value projection of layer {number} has not its full rank: nothing unfolds there")
    return adapter
