"""How plots look, and that the same figures give the same file. Importing this chooses the drawing to SVG files."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from toast.files import write_atomically

pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "toast", "font.size": 10, "axes.spines.top": False})


def save_plot(figure: pyplot.Figure, file: Path) -> None:
    """Without a date: two runs differ only where their figures do."""
    figure.tight_layout()
    write_atomically(
        file, lambda path: figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")
    )
    pyplot.close(figure)
