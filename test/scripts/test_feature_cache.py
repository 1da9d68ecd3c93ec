"""The first pass kept on disk: what is read is what was computed, and what was not finished is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from conftest import loss_curve, random_ids, run_command, tiny_steered
from toast.data import Example, Responses
from toast.feature_cache import CachedResponses, FeatureCache, cache_key


def examples(count: int = 12) -> list[Example]:
    """All begin with the same five tokens."""
    start = random_ids(5, seed=99).tolist()
    return [
        Example(
            [*start, *random_ids(3 + number, seed=number).tolist()],
            [False] * 5 + [number % 2 == 0] + [True] * (2 + number),
        )
        for number in range(count)
    ]


def test_values_are_there_for_others_once_they_are_flushed(tmp_path: Path):
    values = torch.randn(4, 8)
    cache = FeatureCache(tmp_path, "key", [3, 4, 2], 8)
    cache.write(1, values)
    assert [cache.has(example) for example in range(3)] == [False, True, False]
    assert not FeatureCache(tmp_path, "key", [3, 4, 2], 8).has(1)  # as after a kill
    cache.flush()
    again = FeatureCache(tmp_path, "key", [3, 4, 2], 8)
    assert [again.has(example) for example in range(3)] == [False, True, False]
    assert again.count == 1
    assert torch.equal(again.read(1), values.bfloat16())


def test_the_key_tells_weights_arithmetic_and_data_apart():
    some = examples()
    keys = {
        cache_key("a" * 64, "fp32", some),
        cache_key("b" * 64, "fp32", some),
        cache_key("a" * 64, "bf16", some),
        cache_key("a" * 64, "fp32", some[:-1]),
        cache_key("a" * 64, "fp32", [Example(e.ids[:-1], e.asked[:-1]) for e in some]),
    }
    assert len(keys) == 5
    assert cache_key("a" * 64, "fp32", examples()) in keys


def test_batches_bring_the_first_pass_along_and_compute_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    backbone = tiny_steered().backbone
    responses = Responses(examples(), pad_id=2, seed=1)
    computed: list[int] = []
    compute = CachedResponses._compute

    def counted(self, rows):
        computed.extend(rows)
        compute(self, rows)

    monkeypatch.setattr(CachedResponses, "_compute", counted)
    cached = CachedResponses(responses, backbone, "a" * 64, "float32-fp32", tmp_path)
    for step in range(9):  # three epochs
        batch = cached.batch(step, 4)
        plain = responses.batch(step, 4)
        assert torch.equal(batch.ids, plain.ids)
        with torch.no_grad():
            expected = backbone.model.bottom_up(backbone.embed(batch.ids))
        for row in range(4):
            end = int((plain.labels[row] != -100).nonzero().max()) + 1  # beyond it is padding
            torch.testing.assert_close(batch.bottom_up[row, :end], expected[row, :end], atol=0.02, rtol=0.01)
    assert sorted(computed) == list(range(12))
    cached.cache.flush()
    CachedResponses(responses, backbone, "a" * 64, "float32-fp32", tmp_path).batch(0, 4)
    assert len(computed) == 12


def test_a_run_with_cached_features_learns_the_same_whether_they_were_there(
    tmp_path: Path, base_folder: Path, alpaca_file: Path
):
    def tune(name: str, *more: object) -> list[tuple[int, float]]:
        run_command(
            "tune_adapter.py",
            *("--model", base_folder, "--data", alpaca_file, "--held-out", 20, "--out", tmp_path / name),
            *("--steps", 8, "--batch-size", 4, "--accumulate", 1, "--learning-rate", 3e-3, "--precision", "fp32"),
            *("--features", "unit_rms", "--emit-start", "zero", *more),
        )
        return loss_curve(tmp_path / name)

    first = tune("first", "--cache-features", tmp_path / "z")
    second = tune("second", "--cache-features", tmp_path / "z")
    assert second == first
    without = tune("without")
    assert [loss for _, loss in first] == pytest.approx([loss for _, loss in without], abs=2e-3)


def test_what_the_cache_cannot_do_is_said(tmp_path: Path, base_folder: Path, alpaca_file: Path):
    refused = run_command(
        "tune_adapter.py",
        *("--model", base_folder, "--data", alpaca_file, "--held-out", 20, "--out", tmp_path / "out"),
        *("--steps", 1, "--cache-features", tmp_path / "z"),
        check=False,
    )
    assert refused.status == 2
    assert "--cache-features needs --precision" in refused.stderr
