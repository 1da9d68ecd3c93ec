"""Plot dose and effect: what the strength of a vector or an adapter does to a measure, and to the perplexity."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from matplotlib import pyplot

from toast.data import DataError
from toast.dose import Dose, coherent_range, doses, read_texts, spearman
from toast.plots import save_plot
from toast.scores import MEANINGS
from toast.settings import command, run_command
from toast.tables import markdown_lines, write_table

DESCRIPTION = """\
Draw what measure_dose.py wrote: for each --show a column, above the measure against the strength with 95 % intervals,
below the base's perplexity of the texts as a multiple of that at strength 0. With the text of a system message behind
a second '=', what that did alone is a dashed line. With --page FILE the figures also go, as a table, where that page
says '<!-- table:dose --> … <!-- /table -->', or the name that --table gives.

example:
  python measure_dose.py --model SmolLM2-135M-Instruct --vector happy --system "Act as if you are extremely happy." \\
      --out runs/dose.jsonl
  python plot_dose.py --texts runs/dose.jsonl --page ../docs/results.md --out ../docs/images/dose.svg \\
      --show "vector happy=sentiment=Act as if you are extremely happy."
"""

LIMIT = 1.5
"""A vector's recommended range keeps within so many times the perplexity at strength 0."""

NEGATIVE = re.compile(r"-(?=\d)")


@dataclass(frozen=True)
class Shown:
    """One column: ``doses`` by strength, and what a system message did instead, if one was asked for."""

    subject: str
    measure: str
    doses: list[Dose]
    prompt: Dose | None

    @property
    def strengths(self) -> list[float]:
        return [dose.strength or 0.0 for dose in self.doses]

    @property
    def ratios(self) -> list[float]:
        base = next(dose.perplexity for dose in self.doses if dose.strength == 0)
        return [dose.perplexity / base for dose in self.doses]


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--texts", type=Path, required=True, help=".jsonl of measure_dose.py")
    parser.add_argument(
        "--show", action="append", required=True, metavar="SUBJECT=MEASURE[=SYSTEM TEXT]", help="may be repeated"
    )
    parser.add_argument("--page", type=Path, help="Markdown page to write the figures into")
    parser.add_argument("--table", default="dose", metavar="NAME", help="the table's name in that page")
    parser.add_argument("--out", type=Path, required=True, help="file for the plot, .svg")
    arguments = parser.parse_args()
    found = doses(read_texts(arguments.texts))
    shown = [shown_by(word, found) for word in arguments.show]
    save_plot(drawn(shown), arguments.out)
    table = "\n".join(markdown_lines(rows_of(shown)))
    print(table)
    if arguments.page:
        write_table(arguments.page, arguments.table, table)


def shown_by(word: str, found: dict[str, list[Dose]]) -> Shown:
    """Raises DataError naming what there is instead."""
    subject, _, rest = word.partition("=")
    measure, _, system = rest.partition("=")
    if measure not in MEANINGS:
        raise DataError(f"--show {word}: '{measure}' is no measure; there are {', '.join(MEANINGS)}")
    prompt = f"prompt {system}" if system else None
    for name in (subject, prompt):
        if name is not None and name not in found:
            raise DataError(f"--show {word}: there is no text of '{name}'; there are {', '.join(sorted(found))}")
    if len(found[subject]) < 2 or not any(dose.strength == 0 for dose in found[subject]):
        raise DataError(f"--show {word}: '{subject}' needs texts at strength 0 and at another")
    return Shown(subject, measure, found[subject], found[prompt][0] if prompt else None)


def drawn(shown: list[Shown]) -> pyplot.Figure:
    figure, grid = pyplot.subplots(
        2, len(shown), figsize=(2.6 * len(shown) + 0.8, 4.6), sharex="col", squeeze=False, height_ratios=(3, 2)
    )
    for (above, below), one in zip(grid.T, shown, strict=True):
        means, halves = zip(*(dose.means[one.measure] for dose in one.doses), strict=True)
        (line,) = above.plot(one.strengths, means, marker="o", markersize=4)
        low = [mean - half for mean, half in zip(means, halves, strict=True)]
        high = [mean + half for mean, half in zip(means, halves, strict=True)]
        above.fill_between(one.strengths, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        if one.prompt is not None:
            above.axhline(one.prompt.means[one.measure][0], color="0.4", linestyle="--", linewidth=1)
        above.set_title(one.subject, fontsize=10)
        above.set_ylabel(one.measure)
        below.plot(one.strengths, one.ratios, marker="o", markersize=4, color="C1")
        below.axhline(LIMIT, color="0.4", linestyle=":", linewidth=1)
        below.set_ylim(bottom=0.8)
        below.set_xlabel("strength")
    grid[1][0].set_ylabel("perplexity, times")
    return figure


def rows_of(shown: list[Shown]) -> list[list[str]]:
    """Two rows a column of the plot: its measure and its perplexity, by strength."""
    strengths = sorted({strength for one in shown for strength in one.strengths})
    rows = [["", "", *(f"{strength:g}" for strength in strengths), "Spearman", "as a prompt"]]
    for one in shown:
        means = [dose.means[one.measure] for dose in one.doses]
        by_strength = dict(zip(one.strengths, means, strict=True))
        cells = [f"{by_strength[s][0]:.2f}" if s in by_strength else "" for s in strengths]
        prompt = "" if one.prompt is None else f"{one.prompt.means[one.measure][0]:.2f}"
        rank = spearman(one.strengths, [mean for mean, _ in means])
        rows.append([one.subject, one.measure, *cells, f"{rank:.2f}", prompt])
        ratios = dict(zip(one.strengths, one.ratios, strict=True))
        cells = [f"{ratios[s]:.2f}" if s in ratios else "" for s in strengths]
        base = next(dose.perplexity for dose in one.doses if dose.strength == 0)
        held = coherent_range(one.doses, LIMIT)
        within = "" if held is None else f"within {LIMIT:g}: {held[0]:g} to {held[1]:g}"
        prompt = "" if one.prompt is None else f"{one.prompt.perplexity / base:.2f}"
        rows.append(["", "perplexity, times", *cells, within, prompt])
    return [[NEGATIVE.sub("−", cell) for cell in row] for row in rows]


if __name__ == "__main__":
    run_command(main)
