"""Keep the tasks of an instruction file whose answers are short, for an adapter that comes to the point."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from toast.data import DataError
from toast.files import write_atomically
from toast.prompts import read_alpaca
from toast.settings import command, run_command

DESCRIPTION = """\
Write the entries of an Alpaca file whose answers have at most --most-words words (and at least --least-words), in the
file's order. Every entry held out by the other commands is left out first (--held-out, as there).

example:
  python select_tasks.py --data alpaca_data.json.xz --most-words 12 --out runs/short.json
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--data", type=Path, required=True, help="Alpaca data, .json, plain or compressed")
    parser.add_argument("--held-out", type=int, default=1000, help="entries that other commands hold out")
    parser.add_argument("--least-words", type=int, default=1, help="shortest answer")
    parser.add_argument("--most-words", type=int, required=True, help="longest answer")
    parser.add_argument("--out", type=Path, required=True, help="file for the instructions, .json")
    arguments = parser.parse_args()
    kept = [
        asdict(entry)
        for entry in read_alpaca(arguments.data, arguments.held_out).train
        if arguments.least_words <= len(entry.output.split()) <= arguments.most_words
    ]
    if not kept:
        raise DataError(f"{arguments.data}: no answer has at most {arguments.most_words} words")
    text = json.dumps(kept, indent=1, ensure_ascii=False)
    write_atomically(arguments.out, lambda path: path.write_text(text, encoding="utf-8"))
    print(f"{len(kept)} tasks -> {arguments.out}")


if __name__ == "__main__":
    run_command(main)
