"""Dose and effect: texts written at several strengths, and what became of them."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy

from toast.data import DataError
from toast.files import write_atomically

BASE = "base"


@dataclass(frozen=True)
class DoseText:
    """One text.

    ``subject`` is what steered: "vector happy", "adapter alpaca", "prompt Act as …"; BASE at strength 0 of whatever.
    ``strength`` is None for a prompt, which has no dial. ``logprob`` is the base's, summed over ``tokens`` tokens of
    the text, natural, behind the same prompt without a system message.
    """

    subject: str
    strength: float | None
    prompt: str
    text: str
    tokens: int
    logprob: float
    scores: dict[str, float]


@dataclass(frozen=True)
class Dose:
    """All texts of a subject at one strength: means with the half-widths of their 95 % intervals over the prompts."""

    strength: float | None
    texts: int
    means: dict[str, tuple[float, float]]
    perplexity: float


def read_texts(path: Path) -> list[DoseText]:
    """Raises DataError naming the line at fault."""
    texts = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            texts.append(DoseText(**json.loads(line)))
        except (json.JSONDecodeError, TypeError) as error:
            raise DataError(f"{path}, line {number}: not a text as measure_dose.py writes it ({error})") from error
    return texts


def write_texts(path: Path, texts: Iterable[DoseText]) -> None:
    """In the order of subjects, strengths and prompts, so that runs can be compared line by line."""

    def place(text: DoseText) -> tuple[str, float, str]:
        return text.subject, text.strength or 0.0, text.prompt

    lines = [json.dumps(asdict(text), ensure_ascii=False) for text in sorted(texts, key=place)]
    content = "".join(f"{line}\n" for line in lines)
    write_atomically(path, lambda target: target.write_text(content, encoding="utf-8"))


def doses(texts: Iterable[DoseText]) -> dict[str, list[Dose]]:
    """By subject, in the order of the strengths; the base's texts are strength 0 of every vector and adapter.

    Of a subject only prompts count that have a text at every strength: strengths are compared on the same ones.
    """
    grouped: dict[str, dict[float | None, dict[str, DoseText]]] = defaultdict(lambda: defaultdict(dict))
    for text in texts:
        grouped[text.subject][text.strength][text.prompt] = text
    base = grouped.get(BASE, {}).get(0.0)
    found = {}
    for subject, by_strength in grouped.items():
        if base is not None and None not in by_strength:
            by_strength[0.0] = base
        shared = set.intersection(*(set(by_prompt) for by_prompt in by_strength.values()))
        if not shared:
            raise DataError(f"'{subject}' has no prompt with a text at every strength: let measure_dose.py end its run")
        found[subject] = [
            dose_of(strength, [by_strength[strength][prompt] for prompt in sorted(shared)])
            for strength in sorted(by_strength, key=lambda one: one or 0)
        ]
    return found


def dose_of(strength: float | None, texts: list[DoseText]) -> Dose:
    means = {}
    for name in texts[0].scores:
        values = numpy.array([text.scores[name] for text in texts])
        spread = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        means[name] = (float(values.mean()), 1.96 * float(spread))
    tokens = sum(text.tokens for text in texts)
    perplexity = math.exp(-sum(text.logprob for text in texts) / max(1, tokens))
    return Dose(strength, len(texts), means, perplexity)


def spearman(xs: list[float], ys: list[float]) -> float:
    """Rank correlation, equal values sharing their mean rank; NaN where one side has no two values."""
    ranks = [ranks_of(values) for values in (xs, ys)]
    if any(len(set(side)) < 2 for side in ranks):
        return math.nan
    return float(numpy.corrcoef(*ranks)[0, 1])


def ranks_of(values: list[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


def coherent_range(found: list[Dose], limit: float = 1.5) -> tuple[float, float] | None:
    """As far as the perplexity stays within ``limit`` times that at strength 0, from there outwards without a gap."""
    base = next((dose.perplexity for dose in found if dose.strength == 0), None)
    if base is None:
        return None
    ends = []
    for side in (-1, 1):
        end = 0.0
        for dose in sorted((d for d in found if d.strength * side > 0), key=lambda d: abs(d.strength)):
            if dose.perplexity > limit * base:
                break
            end = dose.strength
        ends.append(end)
    return ends[0], ends[1]
