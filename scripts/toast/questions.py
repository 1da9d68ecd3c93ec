"""Short questions whose answers a program can check: how a question is written down, and what counts as right."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toast.data import DataError

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")
ITEM_START = re.compile(r"^\s*(?:[-*•–]|\d+[.)])\s+")
INLINE_ITEM = re.compile(r"\s+(?=\d+[.)]\s)")
"""Between items that are numbered inside a line."""
FENCE = re.compile(r"^```\w*\n(.*?)\n?```$", re.DOTALL)
CHECKS = ("any", "pattern", "number", "words", "most_words", "most_sentences", "items", "each", "json", "case")


@dataclass(frozen=True)
class Question:
    """``check`` holds what the answer is held against; every part of it must be so.

    any             one of these patterns is in the answer, at the beginning of a word
    pattern         the whole answer matches somewhere
    number          the one number in the answer that the question does not name
    words, most_words, most_sentences   exactly, or at most, so many
    items           a list of exactly so many things, one a line or between commas
    each            every item has one of these
    json            the answer is this, as JSON
    case            letters count as they are written
    """

    kind: str
    prompt: str
    check: dict[str, Any]


def read_questions(path: Path) -> list[Question]:
    """One JSON object a line. Raises DataError."""
    questions = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            question = Question(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}, line {number}: no question with kind, prompt and check ({error})") from error
        unknown = set(question.check) - set(CHECKS)
        if unknown or not question.check:
            raise DataError(f"{path}, line {number}: a check is made of {', '.join(CHECKS)}, not {sorted(unknown)}")
        questions.append(question)
    return questions


def is_right(question: Question, answer: str) -> bool:
    """Whether the answer passes every part of the check."""
    check, text = question.check, answer.strip()
    flags = 0 if check.get("case") else re.IGNORECASE
    return all(
        (
            "any" not in check or any(re.search(_at_word(p), text, flags) for p in check["any"]),
            "pattern" not in check or re.search(check["pattern"], text, flags) is not None,
            "number" not in check or _new_numbers(text, question.prompt) == {float(check["number"])},
            "words" not in check or len(WORD.findall(text)) == check["words"],
            "most_words" not in check or 0 < len(WORD.findall(text)) <= check["most_words"],
            "most_sentences" not in check or 0 < _sentences(text) <= check["most_sentences"],
            "items" not in check or _is_list(text, check["items"], check["each"]),
            "json" not in check or _is_json(text, check["json"]),
        )
    )


def _at_word(pattern: str) -> str:
    return pattern if pattern.startswith("\\") else rf"(?<![^\W_]){pattern}"


def _numbers(text: str) -> set[float]:
    figures = {float(found.replace(",", "")) for found in NUMBER.findall(text)}
    words = {word.lower() for word in WORD.findall(text)}
    return figures | {float(value) for value, word in enumerate(NUMBERS) if word in words}


def _new_numbers(text: str, prompt: str) -> set[float]:
    """What the answer brings. A result that the question names too (2 × 1) would not be seen: ask otherwise."""
    return _numbers(text) - _numbers(prompt)


def _sentences(text: str) -> int:
    ends = len(SENTENCE_END.findall(text))
    return ends if SENTENCE_END.search(text[-3:]) or (ends == 0 and not text) else ends + 1


def _is_list(text: str, count: int, each: list[str]) -> bool:
    lines = [line for line in INLINE_ITEM.sub("\n", text).splitlines() if line.strip()]
    marked = [line for line in lines if ITEM_START.match(line)]
    if marked:
        items = marked
    elif len(lines) >= count:
        items = lines
    else:  # "Red, blue and green."
        items = [part for part in re.split(r",\s*(?:and\s+)?|\s+and\s+", text) if part.strip()]
    return len(items) == count and all(any(re.search(p, item, re.IGNORECASE) for p in each) for item in items)


def _is_json(text: str, expected: object) -> bool:
    fenced = FENCE.match(text)
    try:
        return json.loads(fenced.group(1) if fenced else text) == expected
    except ValueError:
        return False
