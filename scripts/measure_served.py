"""Convert what a comparison trained, and measure what serving it costs: bytes on disk and tokens per second."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

from tqdm import tqdm

from toast.data import DataError
from toast.experiments import Method, Plan, Trial, best_rate
from toast.files import write_json
from toast.settings import command, run_command

DESCRIPTION = """\
Take each method's run of the best learning rate and the first seed, convert it with 'toast-serve convert' (int8) and
measure it with 'toast-serve bench' (one stream, greedy), plain and, for an adapter, steered in the same run. Writes
RUNS/served.json, of which make_table.py makes two more columns. What is measured is not measured again.

example:
  npm run build && python measure_served.py experiments/default_model.toml --given model=runs/base \\
      --runs runs/comparison --out runs/comparison/served.json
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("plan", type=Path, help="the plan that run_experiments.py followed")
    parser.add_argument("--runs", type=Path, required=True, help="its --out")
    parser.add_argument("--given", action="append", default=[], metavar="NAME=VALUE", help="as for run_experiments.py")
    parser.add_argument("--toast-serve", default="npx toast-serve", help="how the server's command is called")
    parser.add_argument("--out", type=Path, required=True, help="file for the figures, .json")
    arguments = parser.parse_args()
    given = dict(value.split("=", 1) for value in arguments.given)
    plan = Plan.read(arguments.plan, {**given, "runs": str(arguments.runs)})
    served = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    toast_serve = shlex.split(arguments.toast_serve)
    for method in tqdm(plan.methods, desc="methods", unit="method"):
        if method.name in served or method.result == "prompt":
            continue
        trial = Trial.at(arguments.runs, method, best_rate(arguments.runs, method), method.seeds[0])
        description = trial.folder / "adapter.json"
        if description.is_file() and json.loads(description.read_text()).get("selection") == "none":
            continue  # an ablation that the server does not take
        served[method.name] = measure(method, trial, plan.filled(["{model}"])[0], toast_serve)
        write_json(arguments.out, served)
    print(json.dumps(served, indent=2))


def measure(method: Method, trial: Trial, base: str, toast_serve: list[str]) -> dict[str, float | None]:
    """Bytes of what this method adds to a served base, and tokens per second."""
    folder = trial.folder / "served"
    shutil.rmtree(folder, ignore_errors=True)
    words = ["convert", base if method.result == "adapter" else str(trial.folder), "--out", str(folder)]
    words += ["--model-id", "measured", "--chat-template", "alpaca"]
    if method.result == "adapter":
        words += ["--adapter", str(trial.folder / "adapter.safetensors"), "--name", "it"]
    called(toast_serve, words)
    bench = json.loads(called(toast_serve, ["bench", str(folder), "--only", "decode", "--streams", "1", "--json"]))
    speeds = {row["way"]: row["tokensPerSecond"] for row in bench["decode"]}
    added = folder / "adapters" if method.result == "adapter" else folder
    return {
        "bytes": sum(file.stat().st_size for file in added.rglob("*") if file.is_file()),
        "plain_tokens_per_second": speeds["plain"],
        "steered_tokens_per_second": speeds.get("draftAhead"),
    }


def called(toast_serve: list[str], words: list[str]) -> str:
    """Standard output of the server's command. Raises DataError with what it says when it fails."""
    try:
        done = subprocess.run([*toast_serve, *words], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise DataError(f"--toast-serve: there is no command '{toast_serve[0]}' here") from error
    if done.returncode != 0:
        raise DataError(f"{' '.join([*toast_serve, *words])} failed: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    run_command(main)
