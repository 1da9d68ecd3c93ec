"""A comparison from plan to table, and the statistics in it."""

from __future__ import annotations

import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from conftest import SCRIPTS, TINY, run_command
from toast.data import Example
from toast.evaluation import Losses, half_of
from toast.experiments import Method, Plan, Trial, best_rate, seed_interval, sign_test, win_rate
from toast.prompts import read_opening

PLAN = """
seeds = [1, 2]
choose = ["--data", "{data}", "--held-out", "20", "--half", "choosing"]
evaluate = ["--data", "{data}", "--held-out", "20", "--half", "reporting", "--references", "{references}",
  "--cache", "{runs}/cache"]

[[method]]
name = "toast"
title = "TOAST"
result = "adapter"
rates = [1e-3, 2e-3]
strengths = [0, 1]
command = ["tune_adapter.py", "--model", "{model}", "--adapter", "{model}/adapter.safetensors", "--data", "{data}",
  "--held-out", "20", "--steps", "3", "--batch-size", "4", "--accumulate", "1", "--learning-rate", "{rate}",
  "--seed", "{seed}"]
"""

STAND_IN = """
import json, pathlib, sys
if sys.argv[1] == "convert":
    adapter = pathlib.Path(sys.argv[sys.argv.index("--out") + 1], "adapters", "it")
    adapter.mkdir(parents=True)
    (adapter / "adapter.onnx").write_bytes(bytes(1_500_000))
else:
    ways = {"plain": 80.0, "sequential": 40.0, "draftAhead": 50.0}
    print(json.dumps({"decode": [{"way": way, "tokensPerSecond": speed} for way, speed in ways.items()]}))
"""


def test_a_plan_is_followed_measured_and_turned_into_a_table(tmp_path: Path, alpaca_file: Path):
    plan, out = tmp_path / "plan.toml", tmp_path / "runs"
    plan.write_text(PLAN)
    references = tmp_path / "references.jsonl"
    instance = {"input": "", "output": "the river rises"}
    references.write_text(json.dumps({"instruction": "Say it.", "instances": [instance]}))
    given = [f"model={TINY / 'mha'}", f"data={alpaca_file}", f"references={references}"]
    arguments = [plan, "--out", out, *(word for value in given for word in ("--given", value))]
    run_command("run_experiments.py", *arguments)
    listed = run_command("run_experiments.py", *arguments, "--list").stdout.splitlines()
    assert [line.split("\t")[0] for line in listed] == ["done"] * 4  # two rates to choose from, two seeds to report
    # The server's command, which needs a build, is stood in for: what is tested is how it is asked and read.
    stand_in = tmp_path / "stand_in.py"
    stand_in.write_text(STAND_IN)
    toast_serve = ("--toast-serve", f"{sys.executable} {stand_in}", "--given", given[0])
    run_command("measure_served.py", plan, "--runs", out, *toast_serve, "--out", out / "served.json")
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table:costs -->\nold\n<!-- /table -->\nafter\n")
    table = run_command("make_table.py", plan, "--runs", out, "--out", page).stdout
    assert [row.split("|")[1].strip() for row in table.splitlines()] == ["", "---", "base", "TOAST"]
    assert table.splitlines()[-1].endswith(" | 1.5 MB | 50 (plain: 80) |")
    assert "old" not in page.read_text()
    assert page.read_text().startswith("before\n<!-- table:costs -->\n| ")
    won = run_command("make_table.py", plan, "--runs", out, "--table", "wins").stdout.splitlines()
    assert won[0] == "| likelier than | the base, references | TOAST, references |"
    assert won[2] in ("| TOAST | 0% of 1 (p = 1.000) |  |", "| TOAST | 100% of 1 (p = 1.000) |  |")


def test_the_rate_is_chosen_on_the_half_that_is_not_reported(tmp_path: Path):
    method = Method("toast", "TOAST", [], "adapter", [1e-3, 1e-2], [1], [1.0])
    for rate, choosing, reporting in ((1e-3, 3.0, 9.0), (1e-2, 4.0, 1.0)):
        trial = Trial.at(tmp_path, method, rate, 1)
        trial.folder.mkdir(parents=True)
        for file, loss in ((trial.choosing_file, choosing), (trial.evaluation_file, reporting)):
            file.write_text(json.dumps([{"steering": "strength 1", "responses": {"loss": loss}}]))
    assert best_rate(tmp_path, method) == 1e-3


def test_the_plan_of_the_default_model_can_be_read():
    plan = Plan.read(SCRIPTS / "experiments" / "default_model.toml", {})
    assert {"toast", "toast-lite", "full", "lora"} <= {method.name for method in plan.methods}
    variants = {"toast-fresh", "toast-unselected", "toast-all-maps"}  # they take TOAST's rate, and one seed
    compared = [method for method in plan.methods if method.name not in variants]
    assert all(len(method.rates) >= 3 and len(method.seeds) >= 3 for method in compared)


def test_the_plan_of_the_chat_model_can_be_read_and_its_rivals_are_measured_alike():
    plan = Plan.read(SCRIPTS / "experiments" / "smollm2.toml", {"model": "base", "data": "alpaca", "runs": "runs"})
    methods = {method.name: method for method in plan.methods}
    assert set(methods) == {"toast", "toast-lite", "full", "lora", "prompt"}
    alike = ["--format", "--held-out", "--examples", "--max-length", "--steps", "--batch-size", "--precision"]
    budgets = set()
    for method in plan.methods[:-1]:
        said = dict(pairwise(plan.filled(method.command, rate=1e-4, seed=1)))
        budgets.add(tuple(said[flag] for flag in alike))
        assert len(method.rates) >= 2 and method.seeds == [1, 2, 3]
    assert len(budgets) == 1
    assert budgets.pop()[0] == "chat"
    held_out = [dict(pairwise(words))["--held-out"] for words in (plan.choose, plan.evaluate)]
    assert held_out == [said["--held-out"]] * 2
    opening = plan.filled(methods["prompt"].command)
    assert opening[0] == "--opening"
    assert read_opening(SCRIPTS / opening[1])[0]["role"] == "system"


def test_a_prompt_is_measured_without_a_run(tmp_path: Path, base_folder: Path, alpaca_file: Path):
    """As a method of a plan: the base with messages before every conversation."""
    model = tmp_path / "model"
    shutil.copytree(base_folder, model)
    (model / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}")
    opening = tmp_path / "opening.json"
    opening.write_text(json.dumps([{"role": "user", "content": "old"}, {"role": "assistant", "content": "stone"}]))
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f"""
        seeds = [1]
        choose = []
        evaluate = ["--data", "{alpaca_file}", "--held-out", "20", "--format", "chat"]
        [[method]]
        name = "prompt"
        result = "prompt"
        rates = [0]
        command = ["--opening", "{opening}"]
        """
    )
    run_command("run_experiments.py", plan, "--given", f"model={model}", "--out", tmp_path / "runs")
    table = run_command("make_table.py", plan, "--runs", tmp_path / "runs").stdout.splitlines()
    assert table[2].startswith("| base | 0 | 0 |  | ")
    assert table[3].startswith("| prompt | 0 | 0 |  | ")
    assert table[3].split("|")[5] != table[2].split("|")[5]


def test_an_interval_of_the_mean_holds_what_it_should():
    random = np.random.default_rng(3)
    tokens = random.integers(5, 50, size=400)
    truth = 2.0
    losses = Losses(tokens * truth + random.normal(0, 10, size=400), tokens)
    low, high = losses.interval()
    assert low < losses.mean < high
    spread = 10 / np.sqrt(400) / tokens.mean()  # standard error of the ratio, to first order
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    mean, seeds_low, seeds_high = seed_interval([losses, losses])
    assert mean == pytest.approx(losses.mean)
    assert (seeds_low, seeds_high) == (pytest.approx(low, rel=0.01), pytest.approx(high, rel=0.01))


def test_the_halves_share_no_example():
    examples = [Example([1, number], [False, True]) for number in range(7)]
    assert [example.ids[1] for example in half_of(examples, "choosing")] == [0, 2, 4, 6]
    assert [example.ids[1] for example in half_of(examples, "reporting")] == [1, 3, 5]


def test_the_sign_test_is_exact_and_two_sided():
    assert sign_test(5, 5) == 1.0
    assert sign_test(0, 5) == pytest.approx(2 / 32)
    assert sign_test(9, 1) == pytest.approx(2 * 11 / 1024)
    ones = np.ones(3, dtype=np.int64)
    assert win_rate(Losses(np.array([1.0, 2.0, 3.0]), ones), Losses(np.array([2.0, 2.0, 1.0]), ones)) == (1, 1)
