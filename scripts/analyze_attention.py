"""Plot what a steering adapter selects and where the model looks before and after steering."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from matplotlib import pyplot
from tqdm import tqdm

from toast.adapter_file import load_adapter_for
from toast.attention import PARTS, Looked, MarkedExample, PartSummary, look, mark, summarize
from toast.checkpoint import load_model
from toast.files import write_json
from toast.hashing import backbone_hash
from toast.plots import save_plot
from toast.prompts import ALPACA_HELD_OUT, read_alpaca
from toast.settings import command, run_command, special_ids
from toast.steering import SteeredModel
from toast.tables import markdown_lines, write_table
from toast.tokenizer import load_tokenizer
from toast.trainer import limit_threads

DESCRIPTION = """\
Run a steered model over held-out instructions and their responses, and write to --out:

  attention.json          relevance and attention by part of the prompt, with standard errors
  relevance.svg           mean relevance of each part
  attention.svg           where response tokens look, before (bottom-up pass) and after (steered pass), by layer
  example.svg             one prompt, its tokens shaded by relevance

With --page FILE the figures also go, as a table, where that page says '<!-- table:attention --> … <!-- /table -->'.

example:
  python analyze_attention.py --model runs/base --adapter runs/tuned/adapter.safetensors --data alpaca_data.json \\
      --out ../docs/images
"""
COLOURS = {
    "start": "#9aa0a6",
    "boilerplate": "#c58b2a",
    "instruction": "#2a6fc5",
    "input": "#2a9d6f",
    "response": "#8a4fbf",
}


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, help="folder of the backbone")
    parser.add_argument("--adapter", type=Path, required=True, help="an adapter of it (.safetensors)")
    parser.add_argument("--data", type=Path, required=True, help="Alpaca data; its held-out entries are looked at")
    parser.add_argument("--held-out", type=int, default=ALPACA_HELD_OUT, help="instructions held out")
    parser.add_argument("--examples", type=int, default=300, help="look at so many of them")
    parser.add_argument("--max-length", type=int, default=512, help="longest example in tokens; longer ones are cut")
    parser.add_argument("--page", type=Path, help="Markdown page to write the figures into")
    parser.add_argument("--out", type=Path, required=True, help="folder for the plots")
    arguments = parser.parse_args()

    limit_threads()
    backbone = load_model(arguments.model).eval()
    adapter, _ = load_adapter_for(arguments.adapter, backbone_hash(arguments.model))
    model = SteeredModel(backbone, adapter).eval()
    tokenizer, special = load_tokenizer(arguments.model), special_ids(backbone.config)
    entries = read_alpaca(arguments.data, arguments.held_out).held_out[: arguments.examples]
    marked = [mark(entry, tokenizer, special, arguments.max_length) for entry in entries]
    looked = [(example, look(model, example.ids)) for example in tqdm(marked, desc="looking", unit="example")]
    summary = summarize(looked)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "attention.json", asdict(summary))
    plot_relevance(summary, arguments.out / "relevance.svg")
    plot_attention(summary, arguments.out / "attention.svg")
    with_input = next((pair for pair in looked if "input" in pair[0].parts and len(pair[0].ids) < 140), looked[0])
    plot_example(*with_input, arguments.out / "example.svg")
    table = "\n".join(markdown_lines(rows(summary)))
    print(table)
    if arguments.page:
        write_table(arguments.page, "attention", table)


def rows(summary: PartSummary) -> list[list[str]]:
    """Each part's relevance, and its share of the response tokens' attention, with 95 % intervals."""
    head = ["part of the prompt", "relevance", "attention before steering", "attention after"]
    return [head] + [
        [part, within(summary.relevance[part]), *(within(s[part], 100, " %") for s in (summary.before, summary.after))]
        for part in PARTS
        if part in summary.relevance
    ]


def within(figure: tuple[float, float], scale: float = 1.0, unit: str = "") -> str:
    """Mean ± 1.96 standard errors."""
    mean, error = figure
    digits = 3 if scale == 1.0 else 1
    return f"{scale * mean:.{digits}f} ± {scale * 1.96 * error:.{digits}f}{unit}"


def plot_relevance(summary: PartSummary, file: Path) -> None:
    parts = [part for part in PARTS if part in summary.relevance]
    figure, axes = pyplot.subplots(figsize=(6, 3))
    means = [summary.relevance[part][0] for part in parts]
    errors = [1.96 * summary.relevance[part][1] for part in parts]
    axes.barh(parts, means, xerr=errors, color=[COLOURS[part] for part in parts], capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel(f"mean relevance (cosine to the task embedding), 95 % over {summary.examples} examples")
    save_plot(figure, file)


def plot_attention(summary: PartSummary, file: Path) -> None:
    parts = [part for part in PARTS if part in summary.before_by_layer]
    layers = range(len(summary.before_by_layer[parts[0]]))
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for side, title, shares in (
        (axes[0], "before: bottom-up pass", summary.before_by_layer),
        (axes[1], "after: steered pass", summary.after_by_layer),
    ):
        bottom = [0.0 for _ in layers]
        for part in parts:
            side.bar(layers, shares[part], bottom=bottom, color=COLOURS[part], label=part, width=0.8)
            bottom = [low + share for low, share in zip(bottom, shares[part], strict=True)]
        side.set_title(title)
        side.set_xlabel("layer")
        side.set_xticks(list(layers))
    axes[0].set_ylabel("share of response tokens' attention")
    axes[1].legend(bbox_to_anchor=(1.02, 1), loc="upper left", frameon=False)
    save_plot(figure, file)


def plot_example(example: MarkedExample, looked: Looked, file: Path) -> None:
    """The tokens of one prompt, as text, shaded by relevance."""
    figure, axes = pyplot.subplots(figsize=(9, 4))
    axes.axis("off")
    highest = max(float(looked.relevance.max()), 1e-6)
    x = y = 0.0
    for piece, relevance in zip(example.pieces, looked.relevance, strict=True):
        text = piece.replace("▁", " ").replace("<0x0A>", "⏎")
        width = 0.0105 * max(1, len(text))
        if x + width > 1.0:
            x, y = 0.0, y - 0.085
        axes.text(
            x,
            y,
            text,
            family="monospace",
            fontsize=8,
            bbox={"facecolor": pyplot.cm.Blues(0.75 * float(relevance) / highest), "edgecolor": "none", "pad": 1.5},
        )
        x += width
        if "⏎" in text:
            x, y = 0.0, y - 0.085
    axes.set_ylim(y - 0.05, 0.1)
    axes.set_xlim(0, 1)
    axes.set_title(f"relevance, 0 (white) to {highest:.2f} (blue)", fontsize=9, loc="left")
    save_plot(figure, file)


if __name__ == "__main__":
    run_command(main)
