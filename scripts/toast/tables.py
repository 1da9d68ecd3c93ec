"""Tables of figures in Markdown pages, written by the commands that have the figures."""

from __future__ import annotations

from pathlib import Path

from toast.data import DataError


def markdown_lines(rows: list[list[str]]) -> list[str]:
    """Rows of cells, the head first."""
    head, *body = rows
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body]]


def write_table(file: Path, name: str, table: str) -> None:
    """Put ``table`` where the page says ``<!-- table:NAME --> … <!-- /table -->``. Raises DataError for one without."""
    text = file.read_text()
    opening, closing = f"<!-- table:{name} -->", "<!-- /table -->"
    before, found, rest = text.partition(opening)
    _, ended, after = rest.partition(closing)
    if not found or not ended:
        raise DataError(f"{file} has no '{opening} … {closing}' to write into")
    file.write_text(f"{before}{opening}\n{table}\n{closing}{after}")
