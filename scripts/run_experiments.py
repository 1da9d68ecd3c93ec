"""Run a comparison of methods: train each at several learning rates and over several seeds, and measure every run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from toast.data import DataError
from toast.experiments import Method, Plan, Trial, best_rate
from toast.settings import command, run_command

DESCRIPTION = """\
Follow a plan (TOML): first what it prepares (a pre-tuned adapter, say), then for each method one run at every learning
rate with the first seed; the rate that does best on one half of the held-out instructions gets the other seeds. Every
run is measured by evaluate_model.py. What is finished is not done again, so an interrupted comparison goes on where it
stopped. make_table.py turns the results into a table.

example:
  python run_experiments.py experiments/default_model.toml --given model=runs/base --given data=alpaca_data.json.xz \\
      --out runs/comparison
"""
SCRIPTS = Path(__file__).parent


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("plan", type=Path, help="TOML file: given, prepare, evaluate, seeds, method")
    parser.add_argument("--out", type=Path, required=True, help="folder for all runs")
    parser.add_argument("--given", action="append", default=[], metavar="NAME=VALUE", help="what the plan calls {NAME}")
    parser.add_argument("--only", action="append", metavar="METHOD", help="these methods only; may be given again")
    parser.add_argument("--list", action="store_true", help="print the runs and whether they are done, and stop")
    arguments = parser.parse_args()
    unnamed = [value for value in arguments.given if "=" not in value]
    if unnamed:
        parser.error(f"--given {unnamed[0]}: write NAME=VALUE")
    given = dict(value.split("=", 1) for value in arguments.given)
    plan = Plan.read(arguments.plan, {**given, "runs": str(arguments.out)})
    methods = [m for m in plan.methods if arguments.only is None or m.name in arguments.only]
    unknown = set(arguments.only or []) - {method.name for method in methods}
    if unknown:
        raise DataError(
            f"the plan has no method {sorted(unknown)[0]}; it has {', '.join(m.name for m in plan.methods)}"
        )

    if arguments.list:
        for method in methods:
            for trial in known_trials(arguments.out, method):
                print(f"{'done' if trial.is_measured else 'to do'}\t{trial.folder}")
        return
    for words in plan.prepare:
        filled = plan.filled(words)
        out = Path(filled[filled.index("--out") + 1])
        if not (out / "done").exists():
            run([*filled, "--resume"], out)
            (out / "done").touch()
    measure_base(plan, arguments.out)
    for method in tqdm(methods, desc="methods", unit="method"):
        for rate in method.rates:
            follow(plan, method, Trial.at(arguments.out, method, rate, method.seeds[0]))
        rate = best_rate(arguments.out, method)
        for seed in method.seeds[1:]:
            follow(plan, method, Trial.at(arguments.out, method, rate, seed))


def known_trials(out: Path, method: Method) -> list[Trial]:
    """Every run that a method needs, as far as that can be said before the learning rate is chosen."""
    first = [Trial.at(out, method, rate, method.seeds[0]) for rate in method.rates]
    if not all(trial.is_measured for trial in first):
        return first
    rate = best_rate(out, method)
    return first + [Trial.at(out, method, rate, seed) for seed in method.seeds[1:]]


def measure_base(plan: Plan, out: Path) -> None:
    folder = out / "base"
    if not (folder / "evaluation.json").exists():
        measure(plan, folder, ["--model", "{model}"])


def follow(plan: Plan, method: Method, trial: Trial) -> None:
    """Train and measure one run, unless that is done."""
    if trial.is_measured:
        return
    filled = plan.filled(method.command, rate=f"{trial.rate:g}", seed=trial.seed, out=trial.folder)
    run([*filled, "--out", str(trial.folder), "--resume"], trial.folder)
    if method.result == "model":
        measure(plan, trial.folder, ["--model", str(trial.folder)])
    else:
        strengths = [word for strength in method.strengths for word in ("--strength", f"{strength:g}")]
        adapter = str(trial.folder / "adapter.safetensors")
        measure(plan, trial.folder, ["--model", "{model}", "--adapter", adapter, *strengths])


def measure(plan: Plan, folder: Path, subject: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = ["--losses", str(folder / "losses.npz"), "--out", str(folder / "evaluation.json")]
    run(plan.filled(["evaluate_model.py", *subject, *plan.evaluate, *files]), folder)


def run(words: list[str], folder: Path) -> None:
    """One script in a process of its own; what it says goes to FOLDER/output.txt. Raises DataError when it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{words[0]} -> {folder}", flush=True)
    with (folder / "output.txt").open("a") as output:
        output.write(f"$ {' '.join(words)}\n")
        output.flush()
        status = subprocess.run(
            [sys.executable, str(SCRIPTS / words[0]), *words[1:]], stdout=output, stderr=output, check=False
        ).returncode
    if status != 0:
        raise DataError(f"{words[0]} ended with status {status}; {folder / 'output.txt'} says why")


if __name__ == "__main__":
    run_command(main)
