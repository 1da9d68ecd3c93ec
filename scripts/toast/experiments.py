"""A comparison of methods as data: which commands a plan means, what they left behind, and what that adds up to."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from toast.data import DataError
from toast.evaluation import Losses


@dataclass(frozen=True)
class Method:
    """One way to adapt the base: a training command, tried at several learning rates and repeated over seeds.

    Or, with "prompt" as its result, no training at all: ``command`` is then what evaluate_model.py gets besides.
    """

    name: str
    title: str
    command: list[str]  # script and arguments; {names} are filled in
    result: str  # "adapter" or "model": what the command leaves in its --out; "prompt": it trains nothing
    rates: list[float]
    seeds: list[int]
    strengths: list[float]
    evaluate: list[str] | None = None  # on what it is reported, where that is not the plan's


@dataclass(frozen=True)
class Plan:
    """Everything that a comparison runs, read from a TOML file."""

    given: dict[str, str]  # paths and numbers by name
    prepare: list[list[str]]  # commands that come first, each once; their results are named by --out
    choose: list[str]  # arguments of evaluate_model.py that say on what a learning rate is chosen
    evaluate: list[str]  # … and on what the chosen one is reported
    methods: list[Method]

    @staticmethod
    def read(path: Path, given: dict[str, str]) -> Plan:
        """``given`` wins over the file's own. Raises DataError for a plan that cannot be followed."""
        try:
            raw = tomllib.loads(path.read_text())
            names = {key: str(value) for key, value in raw.get("given", {}).items()} | given
            methods = [
                Method(
                    row["name"],
                    row.get("title", row["name"]),
                    row["command"],
                    row["result"],
                    [float(rate) for rate in row["rates"]],
                    list(row.get("seeds", raw["seeds"])),
                    [float(strength) for strength in row.get("strengths", [1.0])],
                    row.get("evaluate"),
                )
                for row in raw["method"]
            ]
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: not a plan ({type(error).__name__}: {error})") from error
        wrong = [method.name for method in methods if method.result not in ("adapter", "model", "prompt")]
        if wrong:
            raise DataError(f"{path}: method {wrong[0]} must have 'adapter', 'model' or 'prompt' as its result")
        return Plan(names, raw.get("prepare", []), raw["choose"], raw["evaluate"], methods)

    def filled(self, words: list[str], **more: object) -> list[str]:
        """The words of a command with every {name} replaced. Raises DataError for a name that nobody gave."""
        names = self.given | {key: str(value) for key, value in more.items()}
        try:
            return [word.format_map(names) for word in words]
        except KeyError as error:
            raise DataError(f"the plan says {{{error.args[0]}}}; give it with --given {error.args[0]}=…") from error


@dataclass(frozen=True)
class Trial:
    """One training run of a method, finished and measured, in a folder of its own."""

    folder: Path
    rate: float
    seed: int

    @staticmethod
    def at(out: Path, method: Method, rate: float, seed: int) -> Trial:
        return Trial(out / method.name / f"rate-{rate:g}-seed-{seed}", rate, seed)

    @property
    def evaluation_file(self) -> Path:
        return self.folder / "evaluation.json"

    @property
    def choosing_file(self) -> Path:
        return self.folder / "choosing.json"

    @property
    def is_measured(self) -> bool:
        return self.evaluation_file.is_file()

    def evaluations(self) -> list[dict[str, Any]]:
        """One for each strength (or one for a model)."""
        return json.loads(self.evaluation_file.read_text())

    def choosing_loss(self) -> float:
        """What a learning rate is chosen by: responses that are not reported."""
        return float(as_trained(json.loads(self.choosing_file.read_text()))["responses"]["loss"])

    def full_strength(self) -> dict[str, Any]:
        return as_trained(self.evaluations())

    def losses(self, part: str) -> Losses:
        with np.load(self.folder / "losses.npz") as file:
            title = self.full_strength()["steering"]
            return Losses(file[f"{title}/{part}/sums"], file[f"{title}/{part}/tokens"])

    def training(self) -> dict[str, float]:
        """Trained parameters, input tokens seen, and floating-point operations of the whole run; zeros without one."""
        if not (self.folder / "settings.json").is_file():
            return {"trained_parameters": 0, "tokens": 0, "flops": 0}
        settings = json.loads((self.folder / "settings.json").read_text())
        steps = [json.loads(line) for line in (self.folder / "loss.jsonl").read_text().splitlines()]
        tokens = sum(step["tokens"] for step in steps)
        return {
            "trained_parameters": settings["trained_parameters"],
            "tokens": tokens,
            "flops": tokens * settings["flops_per_token"],
        }


def as_trained(evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the measurements at several strengths the one at strength 1, or a model's only one."""
    return next((row for row in evaluations if row["steering"] in ("plain", "strength 1")), evaluations[0])


def best_rate(out: Path, method: Method) -> float:
    """The learning rate whose first seed does best where rates are chosen. Raises DataError when one is missing."""
    if len(method.rates) == 1:
        return method.rates[0]
    trials = [Trial.at(out, method, rate, method.seeds[0]) for rate in method.rates]
    missing = [trial.folder for trial in trials if not trial.choosing_file.is_file()]
    if missing:
        raise DataError(f"{missing[0]} is not measured yet: run run_experiments.py first")
    return min(trials, key=Trial.choosing_loss).rate


def seed_interval(losses: list[Losses], rounds: int = 2000, seed: int = 1) -> tuple[float, float, float]:
    """Mean loss over several seeds' runs, and its 95 % interval: seeds and examples are both drawn anew."""
    random = np.random.default_rng(seed)
    sums = np.stack([run.sums for run in losses])  # (S, N)
    tokens = losses[0].tokens  # the same examples for every run
    means = []
    for _ in range(rounds):
        runs = random.integers(len(sums), size=len(sums))
        rows = random.integers(sums.shape[1], size=sums.shape[1])
        means.append(sums[runs][:, rows].sum() / (len(sums) * tokens[rows].sum()))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(sums.sum() / (len(sums) * tokens.sum())), float(low), float(high)


def win_rate(left: Losses, right: Losses) -> tuple[int, int]:
    """On how many examples each side finds the reference answer likelier; equal ones count for neither."""
    return int((left.sums < right.sums).sum()), int((right.sums < left.sums).sum())


def sign_test(wins: int, losses: int) -> float:
    """Two-sided probability of a split at least this uneven when both sides are alike (exact binomial)."""
    total, few = wins + losses, min(wins, losses)
    return min(1.0, 2 * sum(comb(total, k) for k in range(few + 1)) / 2**total)
