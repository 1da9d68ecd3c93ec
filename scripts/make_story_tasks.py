"""Turn a collection of short stories into instructions with answers, for an adapter that tells stories."""

from __future__ import annotations

import json
import random
from pathlib import Path

from toast.data import DataError, TextSource, document_hash, read_documents
from toast.files import write_atomically
from toast.settings import command, run_command
from toast.tasks import SENTENCE, occurrences, telling_words, with_article

DESCRIPTION = """\
Make instruction data in Alpaca's form of a text whose documents are short stories (TinyStories): each story answers a
request that names one to three of its words, and the rest of it answers "Continue the story." after its first
sentences. Which words and which request follow from the story's hash, so the same text gives the same file. Held-out
documents (the same --held-out-percent as in training) are left out, or are the only ones taken with --held-out.

example:
  python make_story_tasks.py --text data/tinystories.jsonl.xz --out runs/stories.json
  python tune_adapter.py --model runs/base --adapter runs/pretuned/adapter.safetensors --data runs/stories.json \\
      --held-out 200 --epochs 1 --out runs/stories
"""

ONE = ("Write a short story about {0}.", "Tell me a story about {0}.", "Tell a story with {0} in it.")
SEVERAL = (
    "Write a short story with the words {0}.",
    "Tell me a story about {0}.",
    "Write a story for children in which these words occur: {0}.",
)
CONTINUE = ("Continue the story.", "How does this story go on?", "Finish this story.")


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument(
        "--text", action="append", required=True, metavar="PATH[:MAX_MB]", help="stories, as in training"
    )
    parser.add_argument("--held-out-percent", type=float, default=2.0, help="share of documents held out")
    parser.add_argument("--held-out", action="store_true", help="take the held-out documents instead of the others")
    parser.add_argument("--out", type=Path, required=True, help="file for the instructions, .json")
    arguments = parser.parse_args()
    sources = [TextSource.parse(value) for value in arguments.text]
    split = "held_out" if arguments.held_out else "train"
    stories = list(dict.fromkeys(read_documents(sources, split, arguments.held_out_percent)))
    tasks = story_tasks(stories)
    if not tasks:
        raise DataError(f"{', '.join(arguments.text)}: no story is long enough to make a task of")
    text = json.dumps(tasks, indent=1, ensure_ascii=False)
    write_atomically(arguments.out, lambda path: path.write_text(text, encoding="utf-8"))
    print(f"{len(stories)} stories, {len(tasks)} tasks -> {arguments.out}")


def story_tasks(stories: list[str]) -> list[dict[str, str]]:
    """Two tasks of each story that has words to name and sentences to go on after."""
    occurring = occurrences(stories)
    tasks = []
    for story in stories:
        chance = random.Random(document_hash(story))
        words = telling_words(story, occurring, len(stories))
        if words:
            several = len(words) == 3 and chance.random() < 0.5
            named = f"{words[0]}, {words[1]} and {words[2]}" if several else with_article(words[0])
            request = chance.choice(SEVERAL if several else ONE).format(named)
            tasks.append({"instruction": request, "input": "", "output": story.strip()})
        sentences = SENTENCE.split(story.strip())
        if len(sentences) >= 6:
            given = chance.choice((1, 2, 3))
            start, rest = " ".join(sentences[:given]), " ".join(sentences[given:])
            tasks.append({"instruction": chance.choice(CONTINUE), "input": start, "output": rest})
    return tasks


if __name__ == "__main__":
    run_command(main)
