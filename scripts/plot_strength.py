"""Plot what the strength of the steering does to held-out responses and to general text."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib import pyplot

from toast.data import DataError
from toast.plots import save_plot
from toast.settings import command, run_command
from toast.tables import markdown_lines, write_table

DESCRIPTION = """\
Draw perplexity against strength from what 'evaluate_model.py --strength 0 --strength 0.5 …' wrote: one line for the
responses and one for each text. With --page FILE the figures also go, as a table, where that page says
'<!-- table:strength --> … <!-- /table -->'.

example:
  python evaluate_model.py --model runs/base --adapter runs/tuned/adapter.safetensors --strength 0 --strength 0.5 \\
      --strength 1 --strength 1.5 --data alpaca_data.json --text openwebtext.jsonl.xz --out runs/strength.json
  python plot_strength.py --evaluation runs/strength.json --out ../docs/images/strength.svg
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--evaluation", type=Path, required=True, help="JSON of evaluate_model.py")
    parser.add_argument("--page", type=Path, help="Markdown page to write the figures into")
    parser.add_argument("--out", type=Path, required=True, help="file for the plot, .svg")
    arguments = parser.parse_args()
    results = {
        float(row["steering"].removeprefix("strength ")): row
        for row in json.loads(arguments.evaluation.read_text())
        if row["steering"].startswith("strength ")
    }
    if len(results) < 2:
        raise DataError(f"{arguments.evaluation} has {len(results)} strengths; measure at least two with --strength")
    strengths = sorted(results)
    parts = {
        name: [results[strength][key] for strength in strengths]
        for key in results[strengths[0]]
        if (name := title(key)) is not None
    }
    figure, axes = pyplot.subplots(figsize=(6.5, 3.6))
    for name, figures in parts.items():
        means = [figure["perplexity"] for figure in figures]
        low, high = zip(*(figure["perplexity_interval"] for figure in figures), strict=True)
        (line,) = axes.plot(strengths, means, marker="o", label=name)
        axes.fill_between(strengths, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_xlabel("strength")
    axes.set_ylabel("perplexity per token")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    save_plot(figure, arguments.out)
    rows = [["strength", *parts]]
    for place, strength in enumerate(strengths):
        rows.append([f"{strength:g}", *(f"{figures[place]['perplexity']:.2f}" for figures in parts.values())])
    table = "\n".join(markdown_lines(rows))
    print(table)
    if arguments.page:
        write_table(arguments.page, "strength", table)


def title(key: str) -> str | None:
    """What a part of the evaluation is called; None for what is no measurement."""
    if key == "responses":
        return "held-out responses"
    kind, _, name = key.partition(" ")
    return {"text": name.split(".")[0], "references": f"{name}'s answers", "documents": name}.get(kind)


if __name__ == "__main__":
    run_command(main)
