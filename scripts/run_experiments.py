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
rate with the first seed; the rate that does best on what the plan chooses by gets the other seeds, and is measured on
what it evaluates. evaluate_model.py measures. What is finished is not done again, so an interrupted comparison goes on
where it stopped. make_table.py turns the results into a table.

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
            for title, done in steps_of(arguments.out, method):
                print(f"{'done' if done else 'to do'}\t{title}")
        return
    for words in plan.prepare:
        filled = plan.filled(words)
        out = Path(filled[filled.index("--out") + 1])
        if not (out / "done").exists():
            run([*filled, "--resume"], out)
            (out / "done").touch()
    base = Trial(arguments.out / "base", 0.0, 0)
    if not base.is_measured:
        measure(plan, base, ["--model", "{model}", *plan.evaluate])
    for method in tqdm(methods, desc="methods", unit="method"):
        for trial in rated_trials(arguments.out, method):
            if not trial.choosing_file.is_file():
                train(plan, method, trial)
                evaluate(plan, trial, [*subject(method, trial), *plan.choose, "--out", str(trial.choosing_file)])
        rate = best_rate(arguments.out, method)
        for trial in [Trial.at(arguments.out, method, rate, seed) for seed in method.seeds]:
            if not trial.is_measured:
                train(plan, method, trial)
                strengths = method.strengths if method.result == "adapter" else []
                words = [word for strength in strengths for word in ("--strength", f"{strength:g}")]
                measure(plan, trial, [*subject(method, trial), *words, *(method.evaluate or plan.evaluate)])


def rated_trials(out: Path, method: Method) -> list[Trial]:
    """The runs that a learning rate is chosen by; none where there is no choice."""
    return [Trial.at(out, method, rate, method.seeds[0]) for rate in method.rates] if len(method.rates) > 1 else []


def steps_of(out: Path, method: Method) -> list[tuple[str, bool]]:
    """Every measurement that a method needs and whether it is done, as far as can be said before a rate is chosen."""
    rated = rated_trials(out, method)
    steps = [(f"{trial.folder} (choosing)", trial.choosing_file.is_file()) for trial in rated]
    if all(done for _, done in steps):
        rate = best_rate(out, method)
        trials = [Trial.at(out, method, rate, seed) for seed in method.seeds]
        steps += [(str(trial.folder), trial.is_measured) for trial in trials]
    return steps


def train(plan: Plan, method: Method, trial: Trial) -> None:
    """Train one run, unless that is done."""
    done = trial.folder / "done"
    if method.result != "prompt" and not done.exists():
        filled = plan.filled(method.command, rate=f"{trial.rate:g}", seed=trial.seed)
        run([*filled, "--out", str(trial.folder), "--resume"], trial.folder)
        done.touch()


def subject(method: Method, trial: Trial) -> list[str]:
    """Which model evaluate_model.py is to measure."""
    if method.result == "prompt":
        return ["--model", "{model}", *method.command]
    if method.result == "model":
        return ["--model", str(trial.folder)]
    return ["--model", "{model}", "--adapter", str(trial.folder / "adapter.safetensors")]


def measure(plan: Plan, trial: Trial, words: list[str]) -> None:
    files = ["--losses", str(trial.folder / "losses.npz"), "--out", str(trial.evaluation_file)]
    evaluate(plan, trial, [*words, *files])


def evaluate(plan: Plan, trial: Trial, words: list[str]) -> None:
    run(plan.filled(["evaluate_model.py", *words]), trial.folder)


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
