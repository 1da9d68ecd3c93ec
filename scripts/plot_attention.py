"""Draw where a steered model looks and what it gets from there: what analyze_attention.py measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.colors import to_rgba
from matplotlib.patches import FancyBboxPatch

from toast.attention import PARTS
from toast.data import DataError
from toast.plots import FAINT, INK, PAPER, save_themed
from toast.settings import command, run_command
from toast.tables import markdown_lines, write_table

DESCRIPTION = """\
Draw what analyze_attention.py wrote. Above stands one conversation, its tokens shaded by how much more or less the
response looks at them when it is steered (--show says by which adapter and strength). Below are means over all
examples, by part of the prompt: where the response's tokens look in the base, how steering changes that, and how far
what they get from there moves; bands are 95 % intervals. The colours turn dark where the page's reader has chosen that.
With --page FILE the figures also go, as a table, where that page says '<!-- table:attention --> … <!-- /table -->', or
the name that --table gives.

example:
  python plot_attention.py --measured runs/attention.jsonl --show alpaca@0.5 --page ../docs/results.md \\
      --out ../docs/images/looking.svg
"""
TITLES = {
    "start": "first token",
    "system": "system text",
    "template": "the template’s tokens",
    "instruction": "instruction",
    "input": "input",
    "response": "response so far",
    "all": "all",
}
COLOURS = ("#2a9d8f", "#8b6fd6", "#b98a1d", "#c2447a", "#5b8c2a", "#3d7edb")
MORE, LESS = "#e0662f", "#3d7edb"
LINE, MARGIN = 98, 20
"""Characters in a line of the conversation, and beside it for the names of its parts."""

WIDTH = 9.6
"""Inches."""

MONOSPACE = 0.602
"""Width of a character, as a share of its size."""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--measured", type=Path, required=True, help=".jsonl of analyze_attention.py")
    parser.add_argument("--show", metavar="NAME@STRENGTH", help="what shades the conversation; default: the last")
    parser.add_argument("--page", type=Path, help="Markdown page to write the figures into")
    parser.add_argument("--table", default="attention", metavar="NAME", help="the table's name in that page")
    parser.add_argument("--out", type=Path, required=True, help="file for the plot, .svg")
    arguments = parser.parse_args()
    measured = read_measured(arguments.measured)
    named = {f"{one['adapter']}@{one['strength']:g}": one for one in measured}
    shown = arguments.show or list(named)[-1]
    if shown not in named:
        raise DataError(f"--show {shown}: there is no such steering; there are {', '.join(named)}")
    save_themed(drawn(measured, named[shown], shown), arguments.out)
    table = "\n".join(markdown_lines(rows_of(measured)))
    print(table)
    if arguments.page:
        write_table(arguments.page, arguments.table, table)


def read_measured(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        if lines and all({"adapter", "strength", "groups", "shown"} <= set(line) for line in lines):
            return lines
    except json.JSONDecodeError:
        pass
    raise DataError(f"{path} is not what analyze_attention.py writes")


def drawn(measured: list[dict[str, Any]], shown: dict[str, Any], name: str) -> pyplot.Figure:
    adapters = list(dict.fromkeys(one["adapter"] for one in measured))
    colours = dict(zip(adapters, COLOURS, strict=False))
    lines = wrapped(shown["shown"])
    with pyplot.rc_context({"text.color": INK, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "font.size": 10}):
        heights = (0.24 * len(lines) + 0.55, 4.3)
        figure = pyplot.figure(figsize=(WIDTH, sum(heights)))
        above, below = figure.subfigures(2, 1, height_ratios=heights)
        conversation(above, shown, lines, name)
        means(below, measured, colours)
    return figure


def wrapped(shown: dict[str, Any]) -> list[list[tuple[int, int, str]]]:
    """Lines of (token, column, text): broken where the text breaks, and at LINE characters."""
    lines: list[list[tuple[int, int, str]]] = [[]]
    column = 0
    for token, piece in enumerate(shown["pieces"]):
        for number, text in enumerate(piece.split("\n")):
            if number > 0 or (column + len(text) > LINE and column > 0):
                lines.append([])
                column, text = 0, text.lstrip() if number == 0 else text
            if text:
                lines[-1].append((token, column, text))
                column += len(text)
    return [line for line in lines if line]


def conversation(figure: Any, shown: dict[str, Any], lines: list[list[tuple[int, int, str]]], name: str) -> None:
    """One example's tokens as text, shaded by how much more or less the response's tokens look at them."""
    axes = figure.add_axes((0.02, 0.0, 0.96, 1.0))
    axes.axis("off")
    axes.set_xlim(0, LINE + MARGIN)
    axes.set_ylim(-len(lines) - 0.3, 2.0)
    size = 0.96 * WIDTH * 72 / (LINE + MARGIN) / MONOSPACE  # a character to a column
    example = shown["shown"]
    changes = [after - before for before, after in zip(example["looked base"], example["looked"], strict=True)]
    most = max(abs(change) for change, part in zip(changes, example["parts"], strict=True) if part != "start")
    axes.text(0, 1.1, "Where one response looks when " + name + " steers", fontweight="bold", fontsize=11)
    for column, colour, text in ((LINE - 2, MORE, "more"), (LINE + 9, LESS, "less")):
        axes.add_patch(shade(column, 1.35, 3, colour, 0.8))
        axes.text(column + 4, 1.35, text, fontsize=9.5, va="center")
    before = ""
    for row, line in enumerate(lines):
        y = -row - 0.5
        title = TITLES[main_part(example["parts"], line)]
        if title != before:
            axes.text(LINE + MARGIN, y, title, color=FAINT, fontsize=8.5, ha="right", va="center")
        before = title
        for token, column, text in line:
            share = min(1.0, abs(changes[token]) / most)
            axes.add_patch(shade(column, y, len(text), MORE if changes[token] > 0 else LESS, 0.8 * share))
            word = text.lstrip()
            column += len(text) - len(word)
            axes.text(column, y, word, family="monospace", fontsize=size, va="center", parse_math=False)


def main_part(parts: list[str], line: list[tuple[int, int, str]]) -> str:
    """What most of a line belongs to."""
    lengths: dict[str, int] = {}
    for token, _, text in line:
        part = "template" if parts[token] == "start" else parts[token]
        lengths[part] = lengths.get(part, 0) + len(text)
    return max(lengths, key=lambda part: lengths[part])


def shade(column: float, y: float, length: float, colour: str, alpha: float) -> FancyBboxPatch:
    style = "round,pad=0,rounding_size=0.2"
    face = to_rgba(colour, alpha)
    return FancyBboxPatch((column, y - 0.43), length, 0.86, boxstyle=style, facecolor=face, edgecolor="none")


def means(figure: Any, measured: list[dict[str, Any]], colours: dict[str, str]) -> None:
    """Three columns over all examples, a row for each part."""
    columns = figure.subplots(1, 3, sharey=True, width_ratios=(1, 1.55, 1.55))
    figure.subplots_adjust(left=0.165, right=0.985, bottom=0.15, top=0.78, wspace=0.1)
    base, change, move = columns
    parts = [part for part in PARTS if part in measured[0]["groups"]["all"]]
    for axes in columns:
        axes.set_facecolor(PAPER)
        axes.spines[["right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.tick_params(axis="x", color=FAINT, labelcolor=FAINT, labelsize=8.5)
        axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
    change.axvline(0, color=FAINT, linewidth=1)
    apart = 0.66 / max(1, len(colours))
    strongest = max(one["strength"] for one in measured)
    for row, part in enumerate(parts):
        share = 100 * measured[0]["groups"]["all"][part]["looked base"][0]
        base.barh(row, share, height=0.8, color=to_rgba(FAINT, 0.35), edgecolor="none")
        base.text(share + 0.8, row, f"{share:.0f}", va="center", fontsize=9, color=INK)
        for number, (adapter, colour) in enumerate(colours.items()):
            y = row + (number - (len(colours) - 1) / 2) * apart
            own = sorted((one for one in measured if one["adapter"] == adapter), key=lambda one: one["strength"])
            for axes, key in ((change, "looked difference"), (move, "moved all")):
                figures = [[100 * value for value in one["groups"]["all"][part][key]] for one in own]
                axes.plot([0, figures[-1][0]], [y, y], color=to_rgba(colour, 0.45), linewidth=1.4)
                for one, (mean, low, high) in zip(own, figures, strict=True):
                    face = colour if one["strength"] == strongest else PAPER
                    axes.plot([low, high], [y, y], color=colour, linewidth=3.2, solid_capstyle="round", alpha=0.45)
                    axes.plot(mean, y, marker="o", markersize=5, markeredgewidth=1.4, color=colour, mfc=face)
    base.set_yticks(range(len(parts)), [TITLES[part] for part in parts])
    base.set_ylim(len(parts) - 0.45, -0.55)
    base.set_xlim(0, base.get_xlim()[1] * 1.15)
    move.set_xlim(left=0)
    for axes, title, unit in (
        (base, "where the base looks", "% of attention"),
        (change, "… and how steering changes that", "percentage points"),
        (move, "how far what comes from there moves", "% of all that attention brings in the base"),
    ):
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(unit, fontsize=8.5, color=FAINT)
    count = measured[0]["groups"]["all"]["examples"]
    figure.text(0.02, 0.925, f"Means over {count} held-out examples", fontweight="bold", fontsize=11)
    x = 0.44
    for adapter, colour in colours.items():
        figure.text(x, 0.925, f"● {adapter}", color=colour, fontsize=10)
        x += 0.035 + 0.0115 * len(adapter)
    strengths = sorted({one["strength"] for one in measured})
    dots = ", ".join(f"{'●' if strength == strongest else '○'} strength {strength:g}" for strength in strengths)
    figure.text(0.985, 0.925, dots, color=FAINT, fontsize=9, ha="right")


def rows_of(measured: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each part: its share in the base, and for each steering the difference and the move."""
    names = [f"{one['adapter']} {one['strength']:g}" for one in measured]
    rows = [["part of the prompt", "tokens", "looked at, base", *names]]
    for part in (*PARTS, "all"):
        own = [one["groups"]["all"].get(part) for one in measured]
        if own[0] is None:
            continue
        tokens = f"{own[0]['tokens'][0]:.0f}" if "tokens" in own[0] else ""
        share = f"{100 * own[0]['looked base'][0]:.1f} %"
        cells = [f"{signed(figures['looked difference'])}; {100 * figures['moved all'][0]:.0f} %" for figures in own]
        if part == "all":
            cells = [f"{100 * figures['moved all'][0]:.0f} %" for figures in own]
        rows.append([TITLES[part], tokens, share, *cells])
    return rows


def signed(figure: list[float]) -> str:
    """A difference of shares in percentage points, with its interval."""
    mean, low, high = (f"{100 * value:+.1f}".replace("-", "−") for value in figure)
    return f"{mean} ({low} … {high})"


if __name__ == "__main__":
    run_command(main)
