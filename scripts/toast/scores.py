"""What formulas and published word lists say of a text. None of them is made of a model's own features.

The packages stand in requirements-style.txt and are imported when the first text is scored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from toast.data import DataError

WORD = re.compile(r"'?[a-z]+(?:'[a-z]+)*'?")
CONTRACTION = re.compile(r"[a-z]+'(?:t|s|re|ve|ll|d|m)\b|\b(?:gonna|wanna|gotta)\b")
PIRATE_WORDS = Path(__file__).parents[1] / "experiments/words/pirate.txt"
POETIC_CATEGORIES = ("beauty", "love")

Scorer = Callable[[str], float]

MEANINGS = {
    "sentiment": "VADER's compound score, −1 to 1 (Hutto and Gilbert, 2014)",
    "grade": "Flesch-Kincaid grade (textstat)",
    "contractions": "words such as don't and I'm, % of words",
    "pirate": "words of experiments/words/pirate.txt, % of words",
    "poetic": "words of Empath's categories beauty and love, % of words (Fast et al., 2016)",
    "sentence": "words a sentence (textstat)",
    "repetition": "4-grams of words that had been there before, %",
}


def words_of(text: str) -> list[str]:
    """In small letters; apostrophes at the ends stay, since pirates say o' and 'tis."""
    return WORD.findall(text.lower().replace("’", "'"))


def share_of(words: list[str], listed: frozenset[str]) -> float:
    """% of words that are listed, with or without apostrophes at their ends."""
    found = sum(word in listed or word.strip("'") in listed for word in words)
    return 100 * found / max(1, len(words))


def repetition(words: list[str]) -> float:
    """% of 4-grams that had been there before."""
    grams = [tuple(words[start : start + 4]) for start in range(len(words) - 3)]
    return 100 * (1 - len(set(grams)) / len(grams)) if grams else 0.0


def contractions(text: str) -> float:
    """% of words. The 's of a possessive counts, too: no formula tells it from that of "it's"."""
    found = CONTRACTION.findall(text.lower().replace("’", "'"))
    return 100 * len(found) / max(1, len(words_of(text)))


def read_words(path: Path) -> frozenset[str]:
    """One a line; lines that begin with # tell where they are from."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def scorers() -> dict[str, Scorer]:
    """By the names of MEANINGS. Raises DataError where a package is missing."""
    try:
        import textstat
        from empath import Empath
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError as error:
        raise DataError(
            f"{error.name} is not installed: pip install -r scripts/requirements-style.txt brings what scores texts"
        ) from error
    vader = SentimentIntensityAnalyzer()
    pirate = read_words(PIRATE_WORDS)
    poetic = frozenset(word for name in POETIC_CATEGORIES for word in Empath().cats[name])
    return {
        "sentiment": lambda text: vader.polarity_scores(text)["compound"],
        "grade": lambda text: textstat.flesch_kincaid_grade(text) if words_of(text) else 0.0,
        "contractions": contractions,
        "pirate": lambda text: share_of(words_of(text), pirate),
        "poetic": lambda text: share_of(words_of(text), poetic),
        "sentence": lambda text: textstat.avg_sentence_length(text) if words_of(text) else 0.0,
        "repetition": lambda text: repetition(words_of(text)),
    }
