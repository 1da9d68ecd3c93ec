"""Try the server with clients that others wrote, each in an environment of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from toast.data import DataError
from toast.settings import command, run_command
from toast.tables import markdown_lines, write_table

DESCRIPTION = """\
Run clients/*.py against a server: official clients, agents, and what people put around them. Each suite names its
package at its head and gets an environment of its own, made once under --cache; compatcanary, a scanner from npm, runs
by npx. With --out FILE the counts, and the reason of whatever does not hold, go where that page says
'<!-- table:clients --> … <!-- /table -->'. Exit status 1 when a check does not hold.

example:
  npx toast-serve serve &
  python check_clients.py --out ../docs/clients.md
"""
SUITES = Path(__file__).parent / "clients"
CANARY = "compatcanary@0.2.2"
MINUTES = 20
"""That one suite may take."""


@dataclass(frozen=True)
class Suite:
    """One client: its package as it was tried, and what each check came to (None: it holds)."""

    package: str
    about: str
    reasons: dict[str, str | None]

    @property
    def passed(self) -> int:
        return sum(reason is None for reason in self.reasons.values())


def main() -> None:
    parser = command(DESCRIPTION)
    names = sorted(file.stem for file in SUITES.glob("*.py") if file.stem != "harness")
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1", help="of the server, with /v1")
    parser.add_argument("--model", default="SmolLM2-135M-Instruct", help="a model that chats")
    parser.add_argument("--only", action="append", choices=[*names, "compatcanary"], help="may be given again")
    parser.add_argument("--cache", type=Path, default=Path(".cache/clients"), help="folder for the environments")
    parser.add_argument("--out", type=Path, help="Markdown page to write the counts into; of all suites only")
    arguments = parser.parse_args()
    if arguments.out and arguments.only:
        raise DataError("--out tells of all suites: leave --only out")
    suites: list[Suite] = []
    for name in tqdm(arguments.only or [*names, "compatcanary"], desc="clients", unit="client"):
        suite = canary(arguments) if name == "compatcanary" else python_suite(SUITES / f"{name}.py", arguments)
        suites.append(suite)
        tqdm.write(f"{suite.package}: {suite.passed} of {len(suite.reasons)}")
        for check, reason in suite.reasons.items():
            if reason is not None:
                tqdm.write(f"  {check}: {reason}")
    if arguments.out:
        write_table(arguments.out, "clients", page_of(suites))
    if any(suite.passed < len(suite.reasons) for suite in suites):
        raise SystemExit(1)


def python_suite(file: Path, arguments) -> Suite:
    """Raises DataError when its package cannot be installed, or it ends before it has reported anything."""
    (package,) = inline_metadata(file)["dependencies"]
    python = environment(package, arguments.cache)
    result = subprocess.run(
        [python, file, arguments.url, arguments.model], capture_output=True, text=True, timeout=60 * MINUTES
    )
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise DataError(f"{file.name} reported nothing:\n{result.stderr[-2000:]}")
    about = file.read_text().split('"""')[1]
    return Suite(package, about, {line["name"]: line["reason"] for line in lines})


def inline_metadata(file: Path) -> dict:
    """The '# /// script' block at a script's head: https://packaging.python.org/specifications/inline-script-metadata"""
    lines = file.read_text().splitlines()
    start = lines.index("# /// script") + 1
    end = lines.index("# ///", start)
    return tomllib.loads("\n".join(line.removeprefix("#").strip() for line in lines[start:end]))


def environment(package: str, cache: Path) -> Path:
    """The Python of an environment with the package, made when it is not there yet. Raises DataError."""
    folder = cache / hashlib.sha256(f"{sys.version}{package}".encode()).hexdigest()[:12]
    python = folder.absolute() / "bin" / "python"
    done = folder / "done"
    if not done.exists():
        tqdm.write(f"installing {package} …")
        venv.create(folder, with_pip=True, clear=True)
        installed = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package],
            capture_output=True,
            text=True,
        )
        if installed.returncode != 0:
            raise DataError(f"{package} could not be installed:\n{installed.stderr[-2000:]}")
        done.touch()
    return python


def canary(arguments) -> Suite:
    words = ["scan", "--base-url", arguments.url, "--model", arguments.model, "--format", "json", "--fail-on", "never"]
    result = subprocess.run(
        ["npx", "--yes", CANARY, *words, "--timeout", "120"], capture_output=True, text=True, timeout=60 * MINUTES
    )
    if result.returncode != 0:
        raise DataError(f"{CANARY} did not run:\n{result.stderr[-2000:]}")
    results = json.loads(result.stdout)["results"]
    reasons = {one["name"]: None if one["status"] == "pass" else one["summary"] for one in results}
    return Suite(CANARY.replace("@", "=="), "A scanner of OpenAI-style interfaces, with checks of its own.", reasons)


def page_of(suites: list[Suite]) -> str:
    rows = [["client", "checks that hold"]]
    rows += [[f"`{suite.package}`", f"{suite.passed} of {len(suite.reasons)}"] for suite in suites]
    parts = ["\n".join(markdown_lines(rows))]
    for suite in suites:
        checks = [f"* {name}{'' if reason is None else f': **{reason}**'}" for name, reason in suite.reasons.items()]
        parts.append("\n".join([f"### {suite.package.split('==')[0]}", "", suite.about, "", *checks]))
    return "\n\n".join(parts)


if __name__ == "__main__":
    run_command(main)
