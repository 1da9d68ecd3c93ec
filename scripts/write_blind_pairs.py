#!/usr/bin/env python3
"""Answers of two served models to the same prompts, in pairs whose sides nobody can tell: for a blind reading.

Writes OUT (pairs, sides shuffled by the prompt's hash) and OUT's neighbour .key.jsonl (which side is which). With
--verdicts, a JSON list of "A", "B" or null that a reader gave without the key, it prints how many were right instead.
Means of textstat's readability figures for both models are printed beside it (pip install -r requirements-style.txt).

example:
  npx toast-serve serve &
  python write_blind_pairs.py --base SmolLM2-135M-Instruct --other SmolLM2-135M-Instruct:novelist --out pairs.jsonl
  python write_blind_pairs.py --out pairs.jsonl --verdicts verdicts.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROMPTS = [
    "What should I eat for breakfast?",
    "Write about a walk in the rain.",
    "Tell me about your day.",
    "Describe a garden in spring.",
    "What happened at the party?",
    "Tell me about your best friend.",
    "Write a letter to your sister.",
    "Describe an old man on a bench.",
    "What did you see from the window?",
    "Tell me about a dog.",
    "Write about a journey by night.",
    "What makes you happy?",
    "Describe a storm at sea.",
    "Tell me about the town you live in.",
    "Write about a secret.",
    "What do you think of money?",
    "Describe the first day at school.",
    "Tell me about a visit to the doctor.",
    "Write about a cat and a mouse.",
    "What would you do with a free day?",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8000", help="address of the server")
    parser.add_argument("--base", help="model id of the one")
    parser.add_argument("--other", help="model id of the other, to be found")
    parser.add_argument("--max-tokens", type=int, default=90, help="of an answer (default: 90)")
    parser.add_argument("--verdicts", type=Path, help="which side a reader took for --other, a JSON list")
    parser.add_argument("--out", type=Path, required=True, help="the pairs, .jsonl")
    arguments = parser.parse_args()
    if arguments.verdicts is not None:
        return report(arguments.out, json.loads(arguments.verdicts.read_text()))
    if not arguments.base or not arguments.other:
        parser.error("--base and --other, or --verdicts")
    with ThreadPoolExecutor(4) as pool:
        asked = [(model, prompt) for prompt in PROMPTS for model in (arguments.base, arguments.other)]
        answers = list(pool.map(lambda one: ask(arguments.server, *one, arguments.max_tokens), asked))
    pairs, keys = [], []
    for number, prompt in enumerate(PROMPTS):
        base, other = answers[2 * number : 2 * number + 2]
        is_first = hashlib.sha256(prompt.encode()).digest()[0] % 2 == 0
        sides = (other, base) if is_first else (base, other)
        pairs.append({"prompt": prompt, "A": sides[0], "B": sides[1]})
        keys.append({"prompt": prompt, "other": "A" if is_first else "B", "model": arguments.other})
    write_lines(arguments.out, pairs)
    write_lines(key_of(arguments.out), keys)
    print(f"{len(pairs)} pairs -> {arguments.out}; the key -> {key_of(arguments.out)}", file=sys.stderr)
    return 0


def ask(server: str, model: str, prompt: str, tokens: int) -> str:
    """One answer at the model's recommended sampling."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens, "seed": 1}
    request = urllib.request.Request(
        f"{server.rstrip('/')}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as response:
        return json.load(response)["choices"][0]["message"]["content"]


def key_of(pairs: Path) -> Path:
    return pairs.with_suffix(".key.jsonl")


def write_lines(path: Path, lines: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def read_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def report(path: Path, verdicts: list[str | None]) -> int:
    """How often the reader was right, how likely that is by chance, and what textstat sees."""
    import textstat  # here, since asking needs none of it

    pairs, keys = read_lines(path), read_lines(key_of(path))
    if len(verdicts) != len(pairs):
        print(f"error: {len(verdicts)} verdicts for {len(pairs)} pairs", file=sys.stderr)
        return 2
    right = sum(verdict == key["other"] for verdict, key in zip(verdicts, keys, strict=True))
    chance = sum(math.comb(len(pairs), k) for k in range(right, len(pairs) + 1)) / 2 ** len(pairs)
    print(f"{right} of {len(pairs)} pairs told apart; by guessing at least so many: {chance:.2g}")
    print("| textstat | base | other | other higher in |")
    print("| --- | --- | --- | --- |")
    for name, measure in (
        ("Flesch reading ease", textstat.flesch_reading_ease),
        ("Flesch-Kincaid grade", textstat.flesch_kincaid_grade),
        ("syllables a word", textstat.avg_syllables_per_word),
        ("words a sentence", textstat.avg_sentence_length),
    ):
        base, other = [], []
        for pair, key in zip(pairs, keys, strict=True):
            base.append(measure(pair["B" if key["other"] == "A" else "A"]))
            other.append(measure(pair[key["other"]]))
        higher = sum(b < o for b, o in zip(base, other, strict=True))
        print(f"| {name} | {mean(base):.1f} | {mean(other):.1f} | {higher} of {len(pairs)} |")
    return 0


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    sys.exit(main())
