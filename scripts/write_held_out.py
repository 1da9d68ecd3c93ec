"""Write the documents of a text that no command trains on."""

from __future__ import annotations

import json
from pathlib import Path

from toast.data import DataError, TextSource, read_documents
from toast.files import write_atomically
from toast.settings import command, run_command

DESCRIPTION = """\
Write the held-out documents of a text as JSON lines ({"text": …}): those that the hash of their text keeps out of all
training (the same --held-out-percent as there). For 'evaluate_model.py --documents' and 'toast-serve perplexity'.

example:
  python write_held_out.py --text data/openwebtext.jsonl.xz --out held_out.jsonl
  npx toast-serve perplexity ../models/mine --text held_out.jsonl
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--text", action="append", required=True, metavar="PATH", help="as in training")
    parser.add_argument("--held-out-percent", type=float, default=2.0, help="share of documents held out")
    parser.add_argument("--out", type=Path, required=True, help="file for the documents, .jsonl")
    arguments = parser.parse_args()
    sources = [TextSource.parse(value) for value in arguments.text]
    documents = list(read_documents(sources, "held_out", arguments.held_out_percent))
    if not documents:
        raise DataError(f"{', '.join(arguments.text)}: no document is held out at {arguments.held_out_percent} %")
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in documents)
    write_atomically(arguments.out, lambda path: path.write_text(lines, encoding="utf-8"))
    print(f"{len(documents)} documents -> {arguments.out}")


if __name__ == "__main__":
    run_command(main)
