"""What training costs by the formula, and by PyTorch's own count."""

from __future__ import annotations

import pytest
import torch

from conftest import tiny_config, tiny_steered
from toast.budget import memory_bytes, operations_per_token, parameters, traffic_bytes
from toast.data import IGNORED, Batch
from toast.parallel import World
from toast.steering import SteeredObjective
from toast.trainer import count_flops

# Wide enough that attention's own products (which are left out) are small beside the projections.
SHAPE = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "num_attention_heads": 4, "vocab_size": 512}


@pytest.mark.parametrize(("stage", "asked"), [("pretuning", 1.0), ("tuning", 1.0), ("tuning", 0.5)])
def test_operations_are_those_that_are_counted(stage: str, asked: float):
    model = tiny_steered(**SHAPE)
    if stage == "pretuning":
        model.adapter.train_for_pretuning()
    else:
        model.adapter.train_for_tuning()
    ids = torch.arange(16).remainder(500)[None]
    labels = ids.clone()
    labels[:, : round(16 * (1 - asked))] = IGNORED
    objective = SteeredObjective(model, reconstruct=stage == "pretuning")
    counted = count_flops(objective, Batch(ids, labels), World.join())
    worked_out = operations_per_token(tiny_config(**SHAPE), stage, asked=asked)
    # The channel transform, the last layer's carry map (whose result nobody uses) and attention make the difference.
    assert worked_out == pytest.approx(counted, rel=0.08)


def test_parameters_are_the_models_own():
    model = tiny_steered(**SHAPE)
    counted = parameters(tiny_config(**SHAPE))
    own = sum(p.numel() for name, p in model.backbone.named_parameters() if p.dim() == 2)
    assert counted.layers + counted.head + counted.embedding == own
    assert 2 * counted.maps == sum(p.numel() for p in model.adapter.feedback.parameters())


def test_tuning_needs_less_than_pretuning():
    config = tiny_config(**SHAPE)
    pretuning, tuning = (memory_bytes(config, stage) for stage in ("pretuning", "tuning"))
    assert pretuning["adapter"] == parameters(config).maps * 32
    assert tuning["adapter"] == parameters(config).maps * 20


def test_several_processes_share_the_weights_and_not_the_tokens():
    config = tiny_config(**SHAPE)
    one, four = (memory_bytes(config, "pretuning", processes=count) for count in (1, 4))
    for part in ("backbone", "adapter"):
        assert four[part] == one[part] / 4
    for part in ("activations", "logits"):
        assert four[part] == one[part]
    assert one["gathered"] == 0 < four["gathered"]


def test_what_is_gathered_is_everybody_elses():
    config = tiny_config(**SHAPE)
    counted = parameters(config)
    backbone, maps = counted.layers + counted.head + counted.embedding, counted.maps
    # Three passes over the backbone, two bytes a weight; all maps twice, four bytes, and gradients of the emit maps.
    whole = 3 * 2 * backbone + 2 * 2 * 4 * maps + 4 * maps
    assert traffic_bytes(config, "tuning", processes=4) == pytest.approx(whole * 3 / 4)
    assert traffic_bytes(config, "tuning", processes=1) == 0
