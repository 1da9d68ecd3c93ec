"""Turn the results of run_experiments.py into the table that says what steering is worth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from toast.data import DataError
from toast.evaluation import Losses
from toast.experiments import Method, Plan, Trial, best_rate, seed_interval, sign_test, win_rate
from toast.settings import command, run_command
from toast.tables import markdown_lines, write_table

DESCRIPTION = """\
Read the measured runs of a plan and print a Markdown table. --table costs, the default: trained parameters, training
operations, held-out response perplexity with its interval over seeds and examples, perplexity of general text
(forgetting), and, after measure_served.py, what a method adds to the disk and how fast it is served. --table wins: how
often each method finds the reference answers likelier than the base does, and than the plan's first method does. With
--out FILE the table replaces what stands there between '<!-- table:NAME -->' and '<!-- /table -->'.

example:
  python make_table.py experiments/default_model.toml --runs runs/comparison --out ../README.md --name comparison
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("plan", type=Path, help="the plan that run_experiments.py followed")
    parser.add_argument("--runs", type=Path, required=True, help="its --out")
    parser.add_argument("--table", choices=("costs", "wins"), default="costs", help="which table")
    parser.add_argument("--out", type=Path, action="append", default=[], help="Markdown file to write the table into")
    parser.add_argument("--name", help="name of the place in that file; default: that of the table")
    arguments = parser.parse_args()
    plan = Plan.read(arguments.plan, {"runs": str(arguments.runs)})
    rows = {"costs": cost_rows, "wins": win_rows}[arguments.table](plan, arguments.runs)
    table = "\n".join(markdown_lines(rows))
    print(table)
    for file in arguments.out:
        write_table(file, arguments.name or arguments.table, table)


def cost_rows(plan: Plan, runs: Path) -> list[list[str]]:
    base_trial = Trial(runs / "base", 0.0, 0)
    base = base_trial.evaluations()[0]
    texts = [key for key in base if key.startswith("text ")]
    head = ["", "trained parameters", "training FLOPs", "learning rate", "response perplexity (95 %)"]
    head += [f"perplexity, {text_title(text)}" for text in texts]
    served_file = runs / "served.json"
    served = json.loads(served_file.read_text()) if served_file.is_file() else {}
    head += ["bytes on disk", "tokens/s served"] if served else []
    rows = [head]
    half = base_trial.losses("responses")
    base_cells = ["base", "0", "0", "", perplexity(half.mean, *half.interval())]
    rows.append(
        base_cells
        + [f"{base[text]['perplexity']:.2f}" for text in texts]
        + [""] * (len(head) - len(texts) - len(base_cells))
    )
    for method in plan.methods:
        row = cost_row(method, runs, texts)
        rows.append(row + (served_cells(served.get(method.name)) if served else []))
    return rows


def cost_row(method: Method, runs: Path, texts: list[str]) -> list[str]:
    trials = seeds_of(method, runs)
    training = trials[0].training()
    loss = seed_interval([trial.losses("responses") for trial in trials])
    cells = [method.title, thousands(training["trained_parameters"])]
    cells += ["0", ""] if method.result == "prompt" else [f"{training['flops']:.1e}", f"{trials[0].rate:g}"]
    cells.append(perplexity(*loss))
    return cells + [f"{math.exp(mean_of(trials, text)):.2f}" for text in texts]


def win_rows(plan: Plan, runs: Path) -> list[list[str]]:
    """Each method against the base and against the plan's first method, on every set of reference answers."""
    base = Trial(runs / "base", 0.0, 0)
    references = [key.removeprefix("references ") for key in base.evaluations()[0] if key.startswith("references ")]
    first = plan.methods[0]
    rivals = {"the base": [base], first.title: seeds_of(first, runs)}
    rows = [["likelier than", *(f"{rival}, {name}" for name in references for rival in rivals)]]
    for method in plan.methods:
        own = seeds_of(method, runs)
        if any(f"references {name}" not in own[0].evaluations()[0] for name in references):
            continue  # reported on less than the others
        cells = [
            "" if rival == method.title else wins(mean_losses(own, name), mean_losses(trials, name))
            for name in references
            for rival, trials in rivals.items()
        ]
        rows.append([method.title, *cells])
    return rows


def seeds_of(method: Method, runs: Path) -> list[Trial]:
    """A method's runs at its best learning rate, one for each seed. Raises DataError when one is not measured."""
    rate = best_rate(runs, method)
    trials = [Trial.at(runs, method, rate, seed) for seed in method.seeds]
    missing = [trial.folder for trial in trials if not trial.is_measured]
    if missing:
        raise DataError(f"{missing[0]} is not measured yet: run run_experiments.py first")
    return trials


def mean_losses(trials: list[Trial], part: str) -> Losses:
    """What each example cost, averaged over the seeds."""
    losses = [trial.losses(part) for trial in trials]
    return Losses(np.mean([run.sums for run in losses], axis=0), losses[0].tokens)


def served_cells(served: dict[str, float | None] | None) -> list[str]:
    if served is None:
        return ["", ""]
    plain, steered = served["plain_tokens_per_second"], served["steered_tokens_per_second"]
    speed = f"{plain:.0f}" if steered is None else f"{steered:.0f} (plain: {plain:.0f})"
    return [f"{served['bytes'] / 1e6:.1f} MB", speed]


def mean_of(trials: list[Trial], part: str) -> float:
    rows: list[dict[str, Any]] = [trial.full_strength()[part] for trial in trials]
    return sum(row["loss"] for row in rows) / len(rows)


def wins(own: Losses, rival: Losses) -> str:
    won, lost = win_rate(own, rival)
    chance = sign_test(won, lost)
    return f"{won / max(1, won + lost):.0%} of {won + lost} (p {'< 0.001' if chance < 0.001 else f'= {chance:.3f}'})"


def perplexity(loss: float, low: float, high: float) -> str:
    return f"{math.exp(loss):.2f} ({math.exp(low):.2f}–{math.exp(high):.2f})"


def thousands(value: float) -> str:
    return f"{int(value):,}"


def text_title(part: str) -> str:
    return part.removeprefix("text ").split(".")[0]


if __name__ == "__main__":
    run_command(main)
