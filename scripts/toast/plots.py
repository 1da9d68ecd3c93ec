"""How plots look, and that the same figures give the same file. Importing this chooses the drawing to SVG files."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from toast.files import write_atomically

pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "toast", "font.size": 10, "axes.spines.top": False})

INK, FAINT, PAPER = "#1d2025", "#7d828a", "#fdfdfc"
"""Colours of a themed plot: what is written, what stands back, and what is behind both."""

DARK = {INK: "#e6e6e3", FAINT: "#8f949c", PAPER: "#15181c"}
"""What they become where the page's reader has chosen dark."""


def save_plot(figure: pyplot.Figure, file: Path) -> None:
    """Without a date: two runs differ only where their figures do."""
    figure.tight_layout()
    _save(figure, file)


def save_themed(figure: pyplot.Figure, file: Path) -> None:
    """A figure in INK, FAINT and PAPER, which turn dark where its reader has chosen that; other colours stay."""
    figure.set_facecolor(PAPER)
    _save(figure, file)
    names = {INK: "--ink", FAINT: "--faint", PAPER: "--paper"}
    text = file.read_text()
    for colour, name in names.items():
        text = text.replace(f": {colour}", f": var({name})")
    light, dark = (
        "; ".join(f"{name}: {of.get(colour, colour)}" for colour, name in names.items()) for of in ({}, DARK)
    )
    style = f"<style>svg {{ {light} }} @media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}</style>"
    text = re.sub(r"(<svg [^>]*>)", rf"\1\n {style}", text, count=1)
    write_atomically(file, lambda path: path.write_text(text))


def _save(figure: pyplot.Figure, file: Path) -> None:
    write_atomically(
        file, lambda path: figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")
    )
    pyplot.close(figure)
