"""What the attention analysis measures, and that it can be drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import REPOSITORY, TINY, random_ids, run_command, tiny_model, tiny_steered
from toast.attention import (
    PARTS,
    BaseLook,
    Figure,
    MarkedExample,
    Steering,
    brought,
    layer_attention,
    mark,
    summarize,
    system_span,
)
from toast.chat_template import ChatTemplate
from toast.prompts import Instruction, SpecialIds
from toast.tokenizer import load_tokenizer

ENTRY = Instruction("Name a river.", "In the town.", "The old stone river.")
CHAT = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}[system] You tell stories.{{ eos_token }}\n"
    "{% endif %}[{{ m['role'] }}] {{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
SPECIAL = {"eos_token": "</s>"}


def texts(example: MarkedExample) -> dict[str, str]:
    """What is written in each part."""
    written = zip(example.pieces, example.parts, strict=True)
    pieces = [(piece.replace("▁", " ").replace("<0x0A>", "\n"), part) for piece, part in written]
    return {name: "".join(piece for piece, part in pieces if part == name).strip() for name in PARTS}


def an_example(length: int = 14) -> MarkedExample:
    ids = random_ids(length).tolist()
    parts = [
        "start",
        "template",
        *["instruction"] * 4,
        "template",
        *["response"] * (length - 7),
    ]
    return MarkedExample(ids, [str(number) for number in ids], parts)


def test_parts_of_attention_add_up_to_its_output():
    model = tiny_model()
    attention = model.model.layers[1].self_attn
    x = torch.randn(1, 9, model.config.hidden_size, generator=torch.Generator().manual_seed(1))  # (B, T, D)
    rotation = model.model.rotation(0, 9, x.device)
    asking = torch.tensor([3, 4, 8])
    seen = layer_attention(attention, x, x, rotation, asking)
    torch.testing.assert_close(seen.weights.sum(-1), torch.ones(4, 3))
    assert not seen.weights[:, 0, 4:].any(), "a token looks ahead"
    places = [torch.arange(0, 2), torch.arange(2, 9)]
    parts = brought(seen.weights, seen.values, attention.o_proj.weight, places)  # (P, A, D)
    torch.testing.assert_close(parts.sum(0), attention(x, rotation, None)[0, asking])


def test_nothing_moves_where_nothing_is_steered():
    model = tiny_steered()
    with torch.no_grad():
        for layer in model.adapter.feedback:
            layer.emit.weight.zero_()
    base = BaseLook(model, an_example())
    assert not base.steered(model, 1).moved.any()
    steering = tiny_steered()
    seen, half = base.steered(steering, 1), base.steered(steering, 0.5)
    assert seen.looked.sum(axis=2) == pytest.approx(2.0, abs=1e-5), "the parts and all of them"
    assert (seen.moved[0, :, -1] > 1e-2).all()
    assert (half.moved[0, :, -1] < seen.moved[0, :, -1]).all()
    # The first layer's input is the same embeddings: it looks where it did, and all that moves are values.
    assert not seen.moved[1, 0].any()
    assert seen.moved[2, 0] == pytest.approx(seen.moved[0, 0], rel=1e-4)
    assert (seen.moved[1, 1:, -1] > 0).all()


def test_what_is_steered_is_what_the_model_computes():
    model, example = tiny_steered(), an_example()
    base = BaseLook(model, example)
    ids = torch.tensor([example.ids])
    torch.testing.assert_close(base.bottom_up, model(ids).bottom_up)
    own = base.relevance(model)
    assert own["start"] == pytest.approx(float(model(ids).relevance[0, 0].detach()))
    assert set(own) == {"start", "template", "instruction", "response"}


def test_tokens_belong_to_the_part_that_they_stand_in():
    tokenizer = load_tokenizer(TINY / "tokenizer")
    example = mark(ENTRY, tokenizer, SpecialIds(1, 2), 512)
    written = texts(example)
    assert example.parts[0] == "start"
    assert (written["instruction"], written["input"], written["response"]) == tuple(vars(ENTRY).values())
    assert written["template"].startswith("Below is an instruction")
    assert written["system"] == ""


def test_a_chat_template_has_a_system_text_of_its_own():
    tokenizer, template = (
        load_tokenizer(TINY / "tokenizer"),
        ChatTemplate(CHAT, SPECIAL),
    )
    written = texts(mark(ENTRY, tokenizer, SpecialIds(1, 2), 512, template))
    assert (written["instruction"], written["input"], written["response"]) == tuple(vars(ENTRY).values())
    assert written["system"] == "You tell stories."
    assert "[user]" in written["template"].replace(" ", "")
    assert "[assistant]" in written["template"].replace(" ", "")
    without = mark(
        Instruction("You tell stories.", "", "Yes."),
        tokenizer,
        SpecialIds(1, 2),
        512,
        template,
    )
    assert texts(without)["instruction"] == texts(without)["system"] == "You tell stories."
    assert without.present == ["start", "system", "template", "instruction", "response"]


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[-1]['content'] }}",
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}{{ messages[0]['content'] }}",
    ],
)
def test_a_template_may_know_no_system_text(source):
    assert system_span(ChatTemplate(source, {})) == []


def test_intervals_are_over_examples_and_differences_are_paired():
    assert Figure.of([2.0, 2.0, 2.0]) == Figure(2.0, 2.0, 2.0)
    wide = Figure.of([0.0, 1.0] * 50)
    assert wide.mean == 0.5
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * 0.05, rel=0.2)
    model, example = tiny_steered(), an_example()
    seen = BaseLook(model, example).steered(model, 1)
    summary = summarize(
        Steering("it", 1, [BaseLook(model, example).relevance(model)] * 2, [seen, seen]),
        [example] * 2,
    )
    parts = summary["groups"]["all"]
    assert summary["groups"].keys() == {"all", "without input"}
    assert parts["response"]["tokens"] == [7, 7, 7]
    shares = [parts[name]["looked"][0] for name in example.present]
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert parts["start"]["looked difference"][0] == pytest.approx(
        np.mean(seen.looked[1, :, 0] - seen.looked[0, :, 0]), abs=1e-6
    )
    assert len(summary["layers"]["all"]["moved all"]) == model.backbone.config.num_hidden_layers


def test_it_is_measured_and_drawn_and_the_same_each_time(tmp_path: Path, alpaca_file: Path):
    folder = TINY / "mha"
    page = tmp_path / "page.md"
    page.write_text("<!-- table:attention -->\n<!-- /table -->\n")
    for out in (tmp_path / "one", tmp_path / "two"):
        run_command(
            "analyze_attention.py",
            *(
                "--model",
                folder,
                "--adapter",
                f"it={folder / 'adapter.safetensors'}",
                "--data",
                alpaca_file,
            ),
            *(
                "--strength",
                0.5,
                "--strength",
                1,
                "--held-out",
                6,
                "--examples",
                4,
                "--out",
                out / "seen.jsonl",
            ),
        )
        run_command(
            "plot_attention.py",
            *(
                "--measured",
                out / "seen.jsonl",
                "--page",
                page,
                "--table",
                "attention",
                "--out",
                out / "seen.svg",
            ),
        )
    first, second = ((tmp_path / run / "seen.svg").read_text() for run in ("one", "two"))
    assert first.startswith("<?xml")
    assert first == second
    assert "prefers-color-scheme: dark" in first
    lines = [json.loads(line) for line in (tmp_path / "one" / "seen.jsonl").read_text().splitlines()]
    assert [(line["adapter"], line["strength"]) for line in lines] == [
        ("it", 0.5),
        ("it", 1.0),
    ]
    assert lines[0]["groups"]["all"]["examples"] == 4
    assert "| instruction | " in page.read_text()
    wrong = run_command(
        "plot_attention.py",
        "--measured",
        REPOSITORY / "package.json",
        "--out",
        tmp_path / "no.svg",
        check=False,
    )
    assert wrong.status == 2
    assert "is not what analyze_attention.py writes" in wrong.stderr
