"""Plot what a server is like over an hour of people who come, ask, and hang up."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from matplotlib import pyplot

from toast.plots import save_plot

DESCRIPTION = """\
Draw memory, the longest standstill of the HTTP thread and the slowest /readyz over time, from what
'toast-serve bench --only soak --json' printed.

example:
  toast-serve bench --only soak --minutes 60 --json > soak.json
  python plot_soak.py --report soak.json --out ../docs/images/soak.svg
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, required=True, help="JSON of bench --only soak")
    parser.add_argument("--out", type=Path, required=True, help="file for the plot, .svg")
    arguments = parser.parse_args()
    soak = json.loads(arguments.report.read_text()).get("soak")
    if soak is None:
        parser.error(f"{arguments.report} has no soak; measure one with --only soak")
    samples = soak["samples"]
    minutes = [sample["seconds"] / 60 for sample in samples]
    figure, (memory, delays) = pyplot.subplots(2, 1, figsize=(6.5, 5), sharex=True)
    memory.plot(minutes, [sample["memory"] / 2**20 for sample in samples], linewidth=1)
    memory.set_ylabel("resident memory, MiB")
    memory.set_ylim(bottom=0)
    delays.plot(minutes, [sample["ready"] for sample in samples], linewidth=0.8, label="slowest /readyz")
    delays.plot(minutes, [sample["standstill"] for sample in samples], linewidth=0.8, label="longest standstill")
    delays.set_ylabel("milliseconds")
    delays.set_ylim(bottom=0)
    delays.set_xlabel(f"minutes of {soak['clients']} clients")
    delays.legend(frameon=False)
    save_plot(figure, arguments.out)


if __name__ == "__main__":
    main()
