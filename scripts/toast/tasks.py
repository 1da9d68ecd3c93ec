"""Instructions made of texts that have none: what a passage is about, said in its own words."""

from __future__ import annotations

import re
from collections import Counter

MOST = 0.3
"""A word that more than this share of the texts has says nothing about one of them."""
WORD = re.compile(r"\b[a-z]{3,12}\b")
SENTENCE = re.compile(r"(?<=[.!?\"])\s+")


def with_article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def occurrences(texts: list[str]) -> Counter[str]:
    """In how many of the texts each word stands."""
    return Counter(word for text in texts for word in set(WORD.findall(text)))


def telling_words(text: str, occurring: Counter[str], texts: int) -> list[str]:
    """What a text is about: up to three words that it repeats and few others have, the most telling first."""
    counts = Counter(WORD.findall(text))
    scored = [
        (count / occurring[word] ** 0.5, word)
        for word, count in counts.items()
        if count >= 2 and occurring[word] <= texts * MOST
    ]
    return [word for _, word in sorted(scored, reverse=True)[:3]]
