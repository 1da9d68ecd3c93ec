"""Control vectors: what they add, where, and that nothing is nothing."""

from __future__ import annotations

import torch

from conftest import tiny_steered
from toast.control_vectors import (
    VectorUse,
    generate_with_vectors,
    layer_outputs,
    stack_additions,
)
from toast.generate import generate_plain, generate_steered

PROMPT = [1, 5, 9, 2]


def test_a_stack_adds_up_layer_by_layer():
    first = VectorUse(torch.ones(3, 2), 0.5, (0, 1))
    second = VectorUse(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), -2.0, (1, 2))
    expected = torch.tensor([[0.5, 0.5], [-3.5, 0.5], [-6.0, 0.0]])
    torch.testing.assert_close(stack_additions([first, second]), expected)


def test_additions_of_zero_are_the_passes_without_them():
    model = tiny_steered()
    config = model.backbone.config
    zeros = torch.zeros(config.num_hidden_layers, config.hidden_size)
    plain = generate_plain(model.backbone, PROMPT, 6)
    steered = generate_steered(model, PROMPT, 6)
    for adapter, (ids, logits) in ((False, plain), (True, steered)):
        with_zeros = generate_with_vectors(model, PROMPT, 6, zeros, adapter=adapter)
        assert with_zeros[0] == ids
        assert torch.equal(with_zeros[1], logits)


def test_an_addition_behind_the_last_layer_moves_its_output_alone():
    model = tiny_steered()
    config = model.backbone.config
    additions = torch.zeros(config.num_hidden_layers, config.hidden_size)
    embedded = model.backbone.embed(torch.tensor([PROMPT]))
    without = layer_outputs(model.backbone.model, embedded, additions)
    additions[-1] = torch.arange(config.hidden_size)
    moved = layer_outputs(model.backbone.model, embedded, additions)
    assert all(torch.equal(a, b) for a, b in zip(without[:-1], moved[:-1], strict=True))
    torch.testing.assert_close(moved[-1] - without[-1], additions[-1].expand_as(moved[-1]), atol=1e-4, rtol=0)
