"""Adapter files: safetensors under the official key names, and a small JSON beside them that says what they are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from toast.files import BadFolder, write_atomically, write_json
from toast.steering import Features, SteeringAdapter

FORMAT, VERSION = "toast-adapter", 1
PRESENTATION = ("description", "example_prompt", "recommended_strength")
"""What the JSON says only where there is something to say."""
Stage = Literal["initial", "pretuned", "tuned"]


@dataclass(frozen=True)
class AdapterFacts:
    """What the JSON beside an adapter says, apart from the shapes that the tensors give."""

    backbone_sha256: str
    stage: Stage
    prompt_format: str | None = None
    licence: str | None = None
    description: str | None = None  # a sentence for whoever chooses among adapters
    example_prompt: str | None = None  # a prompt that shows it
    recommended_strength: float | None = None  # the strength at which it is at its best


def official_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our parameter names -> the official checkpoints' names."""
    return {_to_official(name): tensor for name, tensor in tensors.items()}


def _to_official(name: str) -> str:
    if name == "task_embedding":
        return "model.prompt"
    if name == "channel_transform":
        return "model.top_down_transform"
    name = name.replace("feedback.", "model.decoders.", 1)
    return name.replace(".carry.", ".linear.", 1).replace(".emit.", ".linear2.", 1)


def _from_official(name: str) -> str:
    if name == "model.prompt":
        return "task_embedding"
    if name == "model.top_down_transform":
        return "channel_transform"
    name = name.replace("model.decoders.", "feedback.", 1)
    return name.replace(".linear.", ".carry.", 1).replace(".linear2.", ".emit.", 1)


def is_adapter_name(name: str) -> bool:
    """Whether an official checkpoint's tensor belongs to the adapter rather than the backbone."""
    return name in ("model.prompt", "model.top_down_transform") or name.startswith("model.decoders.")


def adapter_from_tensors(tensors: dict[str, Tensor], alpha: float = 1.0) -> SteeringAdapter:
    """Build an adapter (float32) from official names; full or Lite is seen from the names.

    Raises BadFolder for tensors that are missing, misshapen or unknown.
    """
    if "model.prompt" not in tensors:
        raise BadFolder("tensor 'model.prompt' is missing: this is no TOAST adapter")
    hidden = tensors["model.prompt"].numel()
    layers = len({name.split(".")[2] for name in tensors if name.startswith("model.decoders.")})
    if layers == 0:
        raise BadFolder("no tensor 'model.decoders.0.linear.weight': this is no TOAST adapter")
    adapter = SteeringAdapter(hidden, layers)
    factors = [tensor for name, tensor in tensors.items() if name.endswith(".lora_A")]
    if factors:
        adapter.add_low_rank(factors[0].shape[0], alpha)
    expected = adapter.state_dict()
    given = {_from_official(name): tensor for name, tensor in tensors.items()}
    for name, tensor in expected.items():
        if name not in given:
            raise BadFolder(f"tensor '{_to_official(name)}' is missing")
        if given[name].shape != tensor.shape:
            raise BadFolder(
                f"tensor '{_to_official(name)}' has shape {list(given[name].shape)}, not {list(tensor.shape)}"
            )
    unknown = sorted(set(given) - set(expected))
    if unknown:
        raise BadFolder(f"tensor '{_to_official(unknown[0])}' is no part of an adapter")
    adapter.load_state_dict({name: given[name].float() for name in expected})
    return adapter


def save_adapter(adapter: SteeringAdapter, path: Path, facts: AdapterFacts) -> None:
    """Write ``path`` (.safetensors) and its JSON; each appears whole, the JSON last."""
    tensors = {name: tensor.detach().to("cpu", torch.float32) for name, tensor in adapter.state_dict().items()}
    kept = {name: tensor.contiguous() for name, tensor in official_names(tensors).items()}
    write_atomically(path, lambda target: save_file(kept, target, metadata={"format": "pt"}))
    write_json(
        path.with_suffix(".json"),
        {
            "format": FORMAT,
            "version": VERSION,
            "kind": adapter.kind,
            "rank": adapter.rank,
            "alpha": adapter.alpha,
            "selection": adapter.selection,
            "features": adapter.features,
            "hidden_size": adapter.task_embedding.numel(),
            "num_hidden_layers": len(adapter.feedback),
            **{name: value for name, value in asdict(facts).items() if value is not None or name not in PRESENTATION},
            "created_by": "toast-serve",
        },
    )


def _known_features(value: object, described_at: Path) -> Features:
    if value not in get_args(Features):
        raise BadFolder(f"{described_at}: features must be {' or '.join(get_args(Features))}, not {value!r}")
    return value  # type: ignore[return-value]


def load_adapter(path: Path) -> tuple[SteeringAdapter, dict[str, Any]]:
    """Read an adapter and its JSON. Raises BadFolder with a sentence when either is not what it should be."""
    described_at = path.with_suffix(".json")
    for file in (path, described_at):
        if not file.is_file():
            raise BadFolder(f"{file} is not there (an adapter is a .safetensors with a .json beside it)")
    described = json.loads(described_at.read_text())
    if described.get("format") != FORMAT or described.get("version") != VERSION:
        raise BadFolder(f"{described_at}: not a {FORMAT} of version {VERSION}")
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    try:
        adapter = adapter_from_tensors(tensors, described["alpha"])
    except BadFolder as error:
        raise BadFolder(f"{path}: {error}") from error
    adapter.selection = described.get("selection", "cosine")  # files of 0.1 do not say
    adapter.features = _known_features(described.get("features", "raw"), described_at)
    if adapter.rank != described["rank"]:
        raise BadFolder(f"{path}: factors of rank {adapter.rank}, but {described_at.name} says {described['rank']}")
    return adapter, described


def load_adapter_for(path: Path, backbone_sha256: str) -> tuple[SteeringAdapter, dict[str, Any]]:
    """``load_adapter``, refusing one that was made for other weights."""
    adapter, described = load_adapter(path)
    if described["backbone_sha256"] != backbone_sha256:
        raise BadFolder(
            f"{path} was made for another backbone ({described['backbone_sha256'][:12]}…, not {backbone_sha256[:12]}…)"
        )
    return adapter, described
