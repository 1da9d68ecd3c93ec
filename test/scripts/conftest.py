"""What the tests of the training side share: a tiny tokenizer, tiny models, and a way to run the commands."""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "scripts"
TINY = REPOSITORY / "test" / "tiny"
sys.path.insert(0, str(SCRIPTS))

from toast.llama import LlamaConfig, LlamaForCausalLM  # noqa: E402
from toast.steering import SteeredModel, SteeringAdapter  # noqa: E402

torch.set_num_threads(2)

WORDS = (
    "the",
    "river",
    "rises",
    "a",
    "town",
    "and",
    "people",
    "tell",
    "old",
    "stories",
    "of",
    "water",
    "stone",
    "light",
)


def tiny_config(**changes: object) -> LlamaConfig:
    values = {
        "vocab_size": 512,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
    }
    return LlamaConfig(**(values | changes))


def tiny_model(seed: int = 0, **changes: object) -> LlamaForCausalLM:
    """A random decoder with weights large enough that every part of it shows in the output."""
    config = tiny_config(initializer_range=0.15, **changes)
    return LlamaForCausalLM(config).initialize(torch.Generator().manual_seed(seed)).eval()


def tiny_steered(seed: int = 0, lite: bool = False, **changes: object) -> SteeredModel:
    """A tiny decoder with a random adapter for which about half of all tokens are relevant."""
    model = tiny_model(seed, **changes)
    generator = torch.Generator().manual_seed(seed + 1)
    adapter = SteeringAdapter(model.config.hidden_size, model.config.num_hidden_layers).initialize(0.2, generator)
    with torch.no_grad():
        adapter.channel_transform.add_(0.1 * torch.randn(adapter.channel_transform.shape, generator=generator))
        if lite:
            adapter.add_low_rank(4)
            for name, parameter in adapter.named_parameters():
                if "lora_" in name:
                    parameter.normal_(0.0, 0.2, generator=generator)
    return SteeredModel(model, adapter)


def random_ids(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, 512, shape, generator=torch.Generator().manual_seed(seed))


def sentences(count: int, seed: int = 0) -> list[str]:
    """Distinct documents of plain words."""
    generator = torch.Generator().manual_seed(seed)
    picks = torch.randint(0, len(WORDS), (count, 30), generator=generator)
    return [" ".join(WORDS[word] for word in row) + f" {number}." for number, row in enumerate(picks.tolist())]


def write_lines(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def write_alpaca(path: Path, count: int) -> Path:
    rows = [
        {"instruction": f"Repeat {text}", "input": text if number % 3 == 0 else "", "output": f"{text} indeed"}
        for number, text in enumerate(sentences(count, seed=7))
    ]
    path.write_text(json.dumps(rows))
    return path


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPTS)}


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


def run_command(name: str, *arguments: object, check: bool = True) -> Finished:
    """Run one of scripts/ as a user would, but in this process: importing PyTorch once is enough."""
    out, error = io.StringIO(), io.StringIO()
    given, sys.argv = sys.argv, [name, *map(str, arguments)]
    status = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        sys.argv = given
    assert status == 0 or not check, error.getvalue()
    return Finished(status, out.getvalue(), error.getvalue())


def loss_curve(folder: Path) -> list[tuple[int, float]]:
    lines = (folder / "loss.jsonl").read_text().splitlines()
    return [(row["step"], row["loss"]) for row in map(json.loads, lines)]


@pytest.fixture(scope="session")
def tokenizer_folder() -> Path:
    return TINY / "tokenizer"


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("text") / "lines.jsonl", sentences(300))


@pytest.fixture(scope="session")
def alpaca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_alpaca(tmp_path_factory.mktemp("alpaca") / "alpaca.json", 120)


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory, text_file: Path, tokenizer_folder: Path) -> Path:
    """A base model as pretrain_base.py writes it, trained for a few steps."""
    out = tmp_path_factory.mktemp("base") / "out"
    run_command(
        "pretrain_base.py",
        *("--tokenizer", tokenizer_folder, "--text", text_file, "--cache", out.parent / "cache", "--out", out),
        *("--hidden-size", 32, "--layers", 2, "--heads", 4, "--kv-heads", 2, "--intermediate-size", 48),
        *("--context", 256, "--block", 32, "--steps", 10, "--batch-size", 4, "--accumulate", 1),
    )
    return out
