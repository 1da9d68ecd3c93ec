"""Ask a server's models short questions whose answers a program can check, and count what is right."""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from toast.files import write_atomically
from toast.questions import Question, is_right, read_questions
from toast.server import post
from toast.settings import command, run_command

DESCRIPTION = """\
Ask every --model of a running server (any that speaks /v1/chat/completions) the questions of a file, greedily, and
print the share of right answers by kind, with the standard error of the whole. MODEL@STRENGTH sets steering.strength.
--opening puts messages before every question: what a prompt alone can do. --out keeps every answer beside its verdict;
answers that stand there already are not asked for again, so a run that was stopped goes on.

example:
  npx toast-serve serve &
  python check_questions.py --model SmolLM2-135M-Instruct --model SmolLM2-135M-Instruct:alpaca@0.5 \\
      --model SmolLM2-135M-Instruct:alpaca --out runs/questions.jsonl
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--server", default="http://127.0.0.1:8000", help="its address")
    parser.add_argument("--model", action="append", required=True, metavar="ID[@STRENGTH]", help="may be repeated")
    parser.add_argument("--questions", type=Path, default=Path(__file__).parent / "experiments/questions.jsonl")
    parser.add_argument("--opening", type=Path, help="messages before every question, a JSON array")
    parser.add_argument("--label", help="what the results are called, for one model (default: its id)")
    parser.add_argument("--max-tokens", type=int, default=96, help="of an answer")
    parser.add_argument("--out", type=Path, help="every answer with its verdict, .jsonl; added to")
    arguments = parser.parse_args()
    if arguments.label is not None and len(arguments.model) > 1:
        parser.error("--label is for one --model")
    questions = read_questions(arguments.questions)
    opening = json.loads(arguments.opening.read_text()) if arguments.opening else []
    kept = read_answers(arguments.out)
    asked = [(arguments.label or model, model) for model in arguments.model]
    missing = [(label, model, q) for label, model in asked for q in questions if (label, q.prompt) not in kept]
    for label, model, question in tqdm(missing, unit="question", disable=not missing, file=sys.stderr):
        answer = ask(arguments.server, model, [*opening, {"role": "user", "content": question.prompt}], arguments)
        kept[label, question.prompt] = answer
        if arguments.out:
            keep(arguments.out, questions, kept)
    print(table(questions, kept, [label for label, _ in asked]))


def read_answers(path: Path | None) -> dict[tuple[str, str], str]:
    """(label, prompt) -> answer, of an earlier run."""
    if path is None or not path.is_file():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {(line["label"], line["prompt"]): line["answer"] for line in lines}


def keep(path: Path, questions: list[Question], answers: dict[tuple[str, str], str]) -> None:
    """Writes all answers, in the order of the labels and the questions."""
    by_prompt = {question.prompt: question for question in questions}
    lines = [
        {"label": label, "prompt": prompt, "right": is_right(by_prompt[prompt], answer), "answer": answer}
        for (label, prompt), answer in answers.items()
        if prompt in by_prompt
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def ask(server: str, model: str, messages: list[dict[str, str]], arguments: Any) -> str:
    """One greedy answer. Raises DataError with what the server said."""
    identity, _, strength = model.partition("@")
    body: dict[str, Any] = {
        "model": identity,
        "messages": messages,
        "max_tokens": arguments.max_tokens,
        "temperature": 0,
    }
    if strength:
        body["steering"] = {"strength": float(strength)}
    return post(server, "/v1/chat/completions", body)["choices"][0]["message"]["content"] or ""


def table(questions: list[Question], answers: dict[tuple[str, str], str], labels: list[str]) -> str:
    """Markdown: a row a label, a column a kind, right of asked; and the share of all with its standard error."""
    kinds = list(dict.fromkeys(question.kind for question in questions))
    rows = [["", *kinds, "all"], ["---"] * (len(kinds) + 2)]
    for label in labels:
        right: dict[str, list[bool]] = defaultdict(list)
        for question in questions:
            right[question.kind].append(is_right(question, answers[label, question.prompt]))
        verdicts = [verdict for kind in kinds for verdict in right[kind]]
        share = sum(verdicts) / len(verdicts)
        error = math.sqrt(share * (1 - share) / len(verdicts))
        parts = [f"{sum(right[kind])} of {len(right[kind])}" for kind in kinds]
        rows.append([label, *parts, f"{share:.0%} ± {error:.0%}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    run_command(main)
