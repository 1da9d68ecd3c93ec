"""What the attention analysis measures, and that it can be drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from conftest import TINY, random_ids, run_command, tiny_model, tiny_steered
from toast.attention import PARTS, layer_attention, look, mark, summarize
from toast.prompts import Instruction, SpecialIds
from toast.tokenizer import load_tokenizer


def test_weights_are_those_that_attention_mixes_values_with():
    model = tiny_model()
    attention = model.model.layers[1].self_attn
    x = torch.randn(2, 9, model.config.hidden_size, generator=torch.Generator().manual_seed(1))  # (B, T, D)
    rotation = model.model.rotation(0, 9, x.device)
    weights = attention.weights(x, rotation)  # (B, H, T, T)
    values = attention.v_proj(x).view(2, 9, attention.kv_heads, attention.head_dim).transpose(1, 2)  # (B, KV, T, Hd)
    values = values.repeat_interleave(attention.heads // attention.kv_heads, dim=1)  # (B, H, T, Hd)
    mixed = (weights @ values).transpose(1, 2).reshape(2, 9, -1)  # (B, T, H·Hd)
    torch.testing.assert_close(attention.o_proj(mixed), attention(x, rotation, None))


def test_both_passes_look_alike_where_nothing_is_steered():
    model = tiny_steered()
    with torch.no_grad():
        for layer in model.adapter.feedback:
            layer.emit.weight.zero_()
    seen = look(model, random_ids(12).tolist())
    assert (seen.before == seen.after).all()
    steered = look(tiny_steered(), random_ids(12).tolist())
    assert abs(steered.before - steered.after).max() > 1e-3
    assert steered.after.sum(axis=2) == pytest.approx(1.0, abs=1e-5)


def test_tokens_belong_to_the_part_that_they_stand_in():
    tokenizer = load_tokenizer(TINY / "tokenizer")
    entry = Instruction("Name a river.", "In the town.", "The old stone river.")
    example = mark(entry, tokenizer, SpecialIds(1, 2), 512)
    assert example.parts[0] == "start"
    texts = {
        part: "".join(piece for piece, own in zip(example.pieces, example.parts, strict=True) if own == part)
        for part in PARTS
    }
    for part, wanted in (("instruction", entry.instruction), ("input", entry.input), ("response", entry.output)):
        assert texts[part].replace("▁", " ").strip() == wanted
    assert "Below" in texts["boilerplate"].replace("▁", "")
    shares = summarize([(example, look(tiny_steered(), example.ids))])
    assert sum(mean for mean, _ in shares.before.values()) == pytest.approx(1.0, abs=1e-4)


def test_the_plots_are_drawn_and_the_same_each_time(tmp_path: Path, alpaca_file: Path):
    folder = TINY / "mha"
    page = tmp_path / "page.md"
    page.write_text("<!-- table:attention -->\n<!-- /table -->\n")
    for out in (tmp_path / "one", tmp_path / "two"):
        run_command(
            "analyze_attention.py",
            *("--model", folder, "--adapter", folder / "adapter.safetensors", "--data", alpaca_file),
            *("--held-out", 6, "--examples", 4, "--page", page, "--out", out),
        )
    for name in ("relevance.svg", "attention.svg", "example.svg"):
        first, second = ((tmp_path / run / name).read_text() for run in ("one", "two"))
        assert first.startswith("<?xml")
        assert first == second
    assert json.loads((tmp_path / "one" / "attention.json").read_text())["examples"] == 4
    assert "| instruction | " in page.read_text()


def test_attention_of_a_layer_sums_to_one_over_the_past():
    model = tiny_steered()
    forward = model(random_ids(1, 7))
    for weights in layer_attention(model.backbone.model, forward.boundaries):
        assert weights.shape == (1, 4, 7, 7)
        torch.testing.assert_close(weights.sum(-1), torch.ones(1, 4, 7))
        assert not weights.triu(diagonal=1).any()
