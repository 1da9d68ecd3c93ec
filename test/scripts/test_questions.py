"""Questions whose answers a program can check."""

from __future__ import annotations

from pathlib import Path

import pytest

from toast.data import DataError
from toast.questions import Question, is_right, read_questions

QUESTIONS = Path(__file__).parents[2] / "scripts/experiments/questions.jsonl"


def right(answer: str, prompt: str = "?", **check: object) -> bool:
    return is_right(Question("kind", prompt, check), answer)


@pytest.mark.parametrize(
    ("answer", "check", "expected"),
    [
        ("The capital is Paris.", {"any": ["Paris"]}, True),
        ("paris", {"any": ["Paris"]}, True),
        ("Comparison", {"any": ["Paris"]}, False),
        ("The number is 12.", {"number": 12}, True),
        ("twelve", {"number": 12}, True),
        ("It is 12, not 13.", {"number": 12}, False),
        ("1,200", {"number": 1200}, True),
        ("Madrid.", {"any": ["Madrid"], "most_words": 1}, True),
        ("It is Madrid.", {"any": ["Madrid"], "most_words": 1}, False),
        ("", {"most_words": 3}, False),
        ("Dogs chase cats every day.", {"words": 5}, True),
        ("The cat fell asleep.", {"most_sentences": 1}, True),
        ("The cat fell asleep. It dreamt.", {"most_sentences": 1}, False),
        ("It cost 2.50 dollars", {"most_sentences": 1}, True),
        ("Red, blue and green.", {"items": 3, "each": ["red", "blue", "green"]}, True),
        ("Sure:\n1. Red\n2. Blue\n3. Green", {"items": 3, "each": ["red", "blue", "green"]}, True),
        ("1. Red 2. Blue 3. Green", {"items": 3, "each": ["red", "blue", "green"]}, True),
        ("- Red\n- Blue\n- Green\n- Red", {"items": 3, "each": ["red", "blue", "green"]}, False),
        ("Red\nBlue\nhouse", {"items": 3, "each": ["red", "blue", "green"]}, False),
        ('```json\n{"name": "Ann"}\n```', {"json": {"name": "Ann"}}, True),
        ('Here it is: {"name": "Ann"}', {"json": {"name": "Ann"}}, False),
        ("berlin", {"any": ["berlin"], "case": True, "pattern": "^[^A-Z]*$"}, True),
        ("Berlin", {"any": ["berlin"], "case": True, "pattern": "^[^A-Z]*$"}, False),
    ],
)
def test_what_counts_as_right(answer: str, check: dict[str, object], expected: bool):
    assert right(answer, **check) is expected


def test_numbers_of_the_question_do_not_count():
    assert right("2 + 2 = 4", "What is 2 + 2?", number=4)
    assert not right("2 + 2 = 5", "What is 2 + 2?", number=4)


def test_a_hundred_questions_that_ask_once_each():
    questions = read_questions(QUESTIONS)
    assert len(questions) == 100
    assert len({question.prompt for question in questions}) == 100
    assert not any(is_right(question, "") or is_right(question, "I do not know.") for question in questions)


def test_a_line_that_is_no_question(tmp_path: Path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"kind": "fact", "prompt": "?", "check": {"loud": 1}}\n')
    with pytest.raises(DataError, match="line 1: a check is made of"):
        read_questions(path)
