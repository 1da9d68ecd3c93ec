"""Try the server with clients that others wrote, each in an environment of its own."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from toast.data import DataError
from toast.settings import command, run_command
from toast.tables import markdown_lines, write_table

DESCRIPTION = """\
Run the suites of clients/ against a server: official clients, agents, and what people put around them. Each names its
packages at its head and gets an environment of its own, of pip or npm, made once under --cache; compatcanary, a scanner
from npm, runs by npx. With --out FILE all checks, and the reason of whatever does not hold, go where that page says
'<!-- table:clients --> … <!-- /table -->', with --counts FILE a table of the counts. Exit status 1 when a check does
not hold.

example:
  npx toast-serve serve &
  python check_clients.py --out ../docs/clients.md --counts ../CONFORMANCE.md
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

    @property
    def name(self) -> str:
        return self.package.split("==")[0]

    @property
    def count(self) -> str:
        return f"{self.passed} of {len(self.reasons)}"


def main() -> None:
    parser = command(DESCRIPTION)
    files = {file.stem: file for file in suite_files()}
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1", help="of the server, with /v1")
    parser.add_argument("--model", default="SmolLM2-135M-Instruct", help="a model that chats")
    parser.add_argument("--only", action="append", choices=[*files, "compatcanary"], help="may be given again")
    parser.add_argument("--cache", type=Path, default=Path(".cache/clients"), help="folder for the environments")
    parser.add_argument("--out", type=Path, help="Markdown page to write all checks into; of all suites only")
    parser.add_argument("--counts", type=Path, help="Markdown page to write the counts into, likewise")
    arguments = parser.parse_args()
    if (arguments.out or arguments.counts) and arguments.only:
        raise DataError("--out and --counts tell of all suites: leave --only out")
    suites: list[Suite] = []
    for name in tqdm(arguments.only or [*files, "compatcanary"], desc="clients", unit="client"):
        suite = canary(arguments) if name == "compatcanary" else run_suite(files[name], arguments)
        suites.append(suite)
        tqdm.write(f"{suite.package}: {suite.count}")
        for check, reason in suite.reasons.items():
            if reason is not None:
                tqdm.write(f"  {check}: {reason}")
    if arguments.out:
        write_table(arguments.out, "clients", page_of(suites))
    if arguments.counts:
        write_table(arguments.counts, "clients", counts_of(suites, "docs/clients.md"))
    if any(suite.passed < len(suite.reasons) for suite in suites):
        raise SystemExit(1)


def suite_files() -> list[Path]:
    return sorted(file for file in [*SUITES.glob("*.py"), *SUITES.glob("*.mjs")] if file.stem != "harness")


def run_suite(file: Path, arguments) -> Suite:
    """Raises DataError when its package cannot be installed, or it ends before it has reported anything."""
    packages = packages_of(file)
    if file.suffix == ".py":
        (package,) = packages
        program = [environment(package, arguments.cache), file]
    else:
        program = ["node", node_environment(file, packages, arguments.cache)]
    result = subprocess.run(
        [*program, arguments.url, arguments.model], capture_output=True, text=True, timeout=60 * MINUTES
    )
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise DataError(f"{file.name} reported nothing:\n{result.stderr[-2000:]}")
    return Suite(packages[0], about(file), {line["name"]: line["reason"] for line in lines})


def packages_of(file: Path) -> list[str]:
    """As 'name==version', the client itself first."""
    if file.suffix == ".py":
        return inline_metadata(file)["dependencies"]
    head = file.read_text().partition("\n")[0]
    names = head.removeprefix("// dependencies: ").split()
    return ["==".join(name.rsplit("@", 1)) for name in names]


def about(file: Path) -> str:
    text = file.read_text()
    return text.split('"""')[1] if file.suffix == ".py" else re.search(r"/\*\* (.+) \*/", text)[1]


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


def node_environment(file: Path, packages: list[str], cache: Path) -> Path:
    """A copy of the suite beside its packages, which are installed when they are not there yet. Raises DataError."""
    folder = cache / hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    done = folder / "done"
    if not done.exists():
        tqdm.write(f"installing {packages[0]} …")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        names = [package.replace("==", "@") for package in packages]
        installed = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact", *names],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if installed.returncode != 0:
            raise DataError(f"{packages[0]} could not be installed:\n{installed.stderr[-2000:]}")
        done.touch()
    # Packages are found from where a file lies, and beside the repository's own copy are the repository's.
    return Path(shutil.copy(file, folder)).absolute()


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
    rows = [["client", "checks that hold"], *([f"`{suite.package}`", suite.count] for suite in suites)]
    parts = ["\n".join(markdown_lines(rows))]
    for suite in suites:
        checks = [
            wrapped(name if reason is None else f"{name}: **{reason}**") for name, reason in suite.reasons.items()
        ]
        parts.append("\n".join([f"### {suite.name}", "", suite.about, "", *checks]))
    return "\n\n".join(parts)


def wrapped(item: str) -> str:
    """An item of a list, in lines of 120 columns."""
    return textwrap.fill(item, width=120, initial_indent="* ", subsequent_indent="  ", break_on_hyphens=False)


def counts_of(suites: list[Suite], page: str) -> str:
    """A table of the counts, each with a link to its section of ``page``, and what does not hold."""
    rows = [["client", "checks that hold", "what does not hold"]]
    for suite in suites:
        failed = "; ".join(f"{name}: {reason}" for name, reason in suite.reasons.items() if reason is not None)
        cell = " ".join(failed.replace("|", "\\|").split())
        rows.append([f"[`{suite.package}`]({page}#{anchor(suite.name)})", suite.count, cell or "–"])
    return "\n".join(markdown_lines(rows))


def anchor(heading: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    run_command(main)
