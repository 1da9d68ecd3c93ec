"""Served adapters, back in the form that is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import REPOSITORY, TINY, run_command
from toast.files import BadFolder
from toast.served_adapter import read_served, turned, unfold

SERVED = REPOSITORY / "test" / "toast-tiny"


def value_projections() -> list[torch.Tensor]:
    tensors = load_file(SERVED / "value_projections.safetensors")
    return [tensors[name].float() for name in sorted(tensors)]


def test_turning_twice_changes_nothing_and_keeps_products():
    rows = torch.randn(3, 384, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(turned(turned(rows)), rows)
    assert (turned(rows) - rows).norm() > rows.norm() / 2
    torch.testing.assert_close(turned(rows) @ turned(rows).T, rows @ rows.T)
    assert turned(rows[:, :7]).equal(rows[:, :7]), "seven channels do not turn"


def test_an_unfolded_adapter_steers_as_the_served_one():
    served = read_served(SERVED / "adapters" / "alpaca")
    adapter = unfold(served, value_projections())
    features = torch.randn(1, 5, 384, generator=torch.Generator().manual_seed(1))  # z (B, T, D)
    selected, relevance = adapter.select_features(features)
    cosine = torch.nn.functional.cosine_similarity(features, served.task_direction, dim=-1).clamp(0, 1)
    torch.testing.assert_close(relevance, cosine)
    emitted = adapter.top_down_values(selected)  # (L, B, T, D)
    for layer, (folded, projection) in enumerate(zip(served.folded, value_projections(), strict=True)):
        added = emitted[layer] @ projection.T  # (B, T, kv)
        torch.testing.assert_close(
            added,
            (features * cosine[..., None]) @ folded.float().T,
            rtol=1e-3,
            atol=1e-5,
        )


def test_value_projections_without_their_full_rank_are_refused():
    flat = [torch.ones_like(projection) for projection in value_projections()]
    with pytest.raises(BadFolder, match="layer 0 has not its full rank"):
        unfold(read_served(SERVED / "adapters" / "alpaca"), flat)


def test_what_is_no_adapter_of_this_base_is_said(tmp_path: Path):
    for served, sentence in (
        (SERVED / "adapters" / "alpaca", "was made for another backbone"),
        (SERVED, "not a toast-serve/adapter of version 1"),
        (tmp_path, "name the folder of a converted adapter"),
    ):
        refused = run_command(
            "unfold_adapter.py",
            "--model",
            TINY / "mha",
            "--served",
            served,
            "--out",
            tmp_path / "out",
            check=False,
        )
        assert refused.status == 2
        assert sentence in refused.stderr
    assert json.loads((SERVED / "adapters" / "alpaca" / "manifest.json").read_text())["quantization"] == "int8"
