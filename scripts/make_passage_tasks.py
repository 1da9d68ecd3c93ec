"""Turn books into instructions with answers, for an adapter that writes as they are written."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

from toast.data import DataError, TextSource, document_hash, read_documents
from toast.files import write_atomically
from toast.settings import command, run_command
from toast.tasks import occurrences

DESCRIPTION = """\
Make instruction data in Alpaca's form of books: each passage, whole sentences of about --words words, answers a request
that names words which are telling of it, or "Continue" after its first sentence. --author keeps the books whose first
lines match. Which passages are taken and what is asked follow from their hashes, so the same books give the same file.

example:
  python make_passage_tasks.py --text data/classic_books.jsonl.xz --author "Arthur Conan Doyle" --tasks 4000 \\
      --out runs/passages.json
  python tune_adapter.py --model runs/base --adapter runs/pretuned/adapter.safetensors --data runs/passages.json \\
      --format chat --held-out 200 --epochs 1 --out runs/passages
"""

REQUESTS = (
    "Tell me about the {0}.",
    "Write about the {0} and the {1}.",
    "Describe the {0}.",
    "What happened with the {0}?",
    "Write a passage about the {0}, the {1} and the {2}.",
    "Write something with the words {0}, {1} and {2}.",
)
CONTINUE = ("Continue: {0}", "How does it go on? {0}", "{0}")
NAMED = re.compile(
    r"\b[Tt]he ([a-z]{3,12})"
    r"(?=[,.;:!?]| (?:of|and|or|was|were|is|had|in|on|at|to|with|which|that|from|for|by|as|above|into|over)\b)"
)
"""Nouns, nearly always: an adjective is followed by another kind of word."""
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"”’'])\s+(?=[A-Z\"“‘])")
"""Between sentences, but not inside '"Come!" she said.'"""
FEWEST = 8
"""passages that a word stands in, at least"""
HEADER = 600
"""Characters at a book's beginning that may name its author; they are never part of a passage."""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--text", action="append", required=True, metavar="PATH[:MAX_MB]", help="books, as in training")
    parser.add_argument("--author", help="regular expression that the first lines of a book must match")
    parser.add_argument("--words", type=int, default=90, help="words of a passage, about")
    parser.add_argument("--tasks", type=int, default=4000, help="tasks at most, drawn from all books")
    parser.add_argument("--held-out-percent", type=float, default=2.0, help="share of books left out, as in training")
    parser.add_argument("--out", type=Path, required=True, help="file for the instructions, .json")
    arguments = parser.parse_args()
    wanted = re.compile(arguments.author or "")
    sources = [TextSource.parse(value) for value in arguments.text]
    books = [
        book
        for book in dict.fromkeys(read_documents(sources, "train", arguments.held_out_percent))
        if wanted.search(book[:HEADER])
    ]
    tasks = passage_tasks(books, arguments.words, arguments.tasks)
    if not tasks:
        raise DataError(f"{', '.join(arguments.text)}: no book to make a task of")
    text = json.dumps(tasks, indent=1, ensure_ascii=False)
    write_atomically(arguments.out, lambda path: path.write_text(text, encoding="utf-8"))
    print(f"{len(books)} books, {len(tasks)} tasks -> {arguments.out}")


def passage_tasks(books: list[str], words: int, most: int) -> list[dict[str, str]]:
    """The ``most`` passages with the smallest hashes, each with one request."""
    found = [passage for book in books for passage in passages(book[HEADER:], words)]
    occurring = occurrences(found)
    tasks = []
    for passage in sorted(dict.fromkeys(found), key=document_hash):
        chance = random.Random(document_hash(passage))
        about = things(passage, occurring)
        first, *rest = SENTENCE_END.split(passage)
        if rest and chance.random() < 0.3:
            tasks.append({"instruction": chance.choice(CONTINUE).format(first), "input": "", "output": " ".join(rest)})
        elif len(about) == 3:
            tasks.append({"instruction": chance.choice(REQUESTS).format(*about), "input": "", "output": passage})
        if len(tasks) == most:
            break
    return tasks


def things(passage: str, occurring: Counter[str]) -> list[str]:
    """Up to three things that a passage speaks of: what it calls "the …", the rarest first, but none that hardly any
    other passage knows (a request should be one that somebody could make)."""
    named = dict.fromkeys(NAMED.findall(passage))
    return sorted((word for word in named if occurring[word] >= FEWEST), key=lambda word: occurring[word])[:3]


def passages(book: str, words: int) -> list[str]:
    """A book cut into stretches of whole sentences that stay inside paragraphs' running text.

    Headings, verse and tables of contents fall out: a paragraph has to end as a sentence does and be long enough.
    """
    found: list[str] = []
    held: list[str] = []
    for block in re.split(r"\n\s*\n", book):
        paragraph = " ".join(block.split())
        is_prose = len(paragraph) > 80 and paragraph[-1] in ".!?\"'”’" and not paragraph.startswith(("#", "|"))
        for sentence in SENTENCE_END.split(paragraph) if is_prose else []:
            held.append(sentence)
            if sum(len(part.split()) for part in held) >= words:
                found.append(" ".join(held))
                held = []
        if not is_prose:
            held = []
    return found


if __name__ == "__main__":
    run_command(main)
