"""Write texts at several strengths of what steers a served model, and have independent measures judge them."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tqdm import tqdm

from toast.dose import BASE, DoseText, doses, read_texts, spearman, write_texts
from toast.scores import MEANINGS, scorers
from toast.server import post
from toast.settings import command, run_command
from toast.tables import markdown_lines

DESCRIPTION = """\
Write texts about neutral prompts at nine strengths of each --vector (−2 to 2) and --adapter (0 to 2) of a running
toast-serve, and under each --system message, which has no dial. Each text is scored by formulas and published word
lists (pip install -r requirements-style.txt), and by the perplexity that the base itself finds in it behind the plain
prompt. Sampling is what the model recommends, with the seed of --seed. Texts that stand in --out already are not
written again, so a run that was stopped goes on; scores are computed anew. The summary has the means, and Spearman's
rank correlation of the means and the strengths; plot_dose.py draws them.

example:
  npx toast-serve serve &
  python measure_dose.py --model SmolLM2-135M-Instruct --vector happy --adapter novelist \\
      --system "Act as if you are extremely happy." --out runs/dose.jsonl
"""

VECTOR_STRENGTHS = (-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2)
ADAPTER_STRENGTHS = (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2)


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--server", default="http://127.0.0.1:8000", help="its address")
    parser.add_argument("--model", required=True, metavar="ID", help="the base's id")
    parser.add_argument("--vector", action="append", default=[], metavar="NAME", help="may be repeated")
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME", help="may be repeated")
    parser.add_argument("--system", action="append", default=[], metavar="TEXT", help="may be repeated")
    parser.add_argument("--strength", action="append", type=float, help="instead of the nine; 0 is always among them")
    parser.add_argument("--prompts", type=Path, default=Path(__file__).parent / "experiments/neutral_prompts.txt")
    parser.add_argument("--limit", type=int, help="only the first so many prompts")
    parser.add_argument("--max-tokens", type=int, default=48, help="of a text")
    parser.add_argument("--seed", type=int, default=1, help="of every request")
    parser.add_argument("--streams", type=int, default=8, help="requests at the same time")
    parser.add_argument("--out", type=Path, required=True, help="every text with its scores, .jsonl; added to")
    arguments = parser.parse_args()
    if not arguments.vector and not arguments.adapter and not arguments.system:
        parser.error("nothing steers: give --vector, --adapter or --system")
    score = scorers()
    prompts = [line for line in arguments.prompts.read_text(encoding="utf-8").splitlines() if line.strip()]
    prompts = prompts[: arguments.limit]
    kept = {
        (text.subject, text.strength, text.prompt): text
        for text in (read_texts(arguments.out) if arguments.out.is_file() else [])
    }
    asked = [(subject, prompt) for subject in subjects(arguments) for prompt in prompts]
    missing = [(s, prompt) for s, prompt in asked if (s[0], s[1], prompt) not in kept]
    lengths: dict[str, int] = {}
    with ThreadPoolExecutor(arguments.streams) as pool:
        writing = [pool.submit(write, arguments, lengths, score, *one) for one in missing]
        try:
            for done in tqdm(as_completed(writing), total=len(writing), unit="text", file=sys.stderr):
                text = done.result()
                kept[text.subject, text.strength, text.prompt] = text
                if len(kept) % 50 == 0:
                    write_texts(arguments.out, kept.values())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            for key, text in kept.items():
                scores = {name: rounded(measure(text.text)) for name, measure in score.items()}
                kept[key] = DoseText(**{**vars(text), "scores": scores})
            write_texts(arguments.out, kept.values())
    print(summary(list(kept.values())))


def subjects(arguments: Any) -> list[tuple[str, float | None, dict[str, Any]]]:
    """What is asked: its name, its strength, and what the request has beside the prompt."""
    asked: list[tuple[str, float | None, dict[str, Any]]] = [(BASE, 0.0, {})]
    for name in arguments.vector:
        for strength in arguments.strength or VECTOR_STRENGTHS:
            steering = {"vectors": [{"name": name, "strength": strength}]}
            asked += [(f"vector {name}", float(strength), {"steering": steering})] if strength else []
    for name in arguments.adapter:
        for strength in arguments.strength or ADAPTER_STRENGTHS:
            steering = {"adapter": name, "strength": strength}
            asked += [(f"adapter {name}", float(strength), {"steering": steering})] if strength else []
    return asked + [(f"prompt {text}", None, {"system": text}) for text in arguments.system]


def write(
    arguments: Any,
    lengths: dict[str, int],
    score: dict[str, Any],
    subject: tuple[str, float | None, dict[str, Any]],
    prompt: str,
) -> DoseText:
    """One text, and what is measured of it."""
    name, strength, more = subject
    asked = [{"role": "user", "content": prompt}]
    opening = [{"role": "system", "content": more["system"]}] if "system" in more else []
    body: dict[str, Any] = {
        "model": arguments.model,
        "messages": [*opening, *asked],
        "max_tokens": arguments.max_tokens,
        "seed": arguments.seed,
    }
    if "steering" in more:
        body["steering"] = more["steering"]
    text = post(arguments.server, "/v1/chat/completions", body)["choices"][0]["message"]["content"] or ""
    if prompt not in lengths:
        told = {"model": arguments.model, "messages": asked}
        lengths[prompt] = len(post(arguments.server, "/tokenize", told)["tokens"])
    logprobs = base_logprobs(arguments, asked, text)[lengths[prompt] :] if text else []
    scores = {key: rounded(measure(text)) for key, measure in score.items()}
    return DoseText(name, strength, prompt, text, len(logprobs), rounded(sum(logprobs)), scores)


def base_logprobs(arguments: Any, asked: list[dict[str, str]], text: str) -> list[float]:
    """Of every token of the conversation, as the base alone finds it; the first has none and counts 0."""
    conversation = {
        "model": arguments.model,
        "messages": [*asked, {"role": "assistant", "content": text}],
        "add_generation_prompt": False,
        "continue_final_message": True,
    }
    ids = post(arguments.server, "/tokenize", conversation)["tokens"]
    body = {"model": arguments.model, "prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 0}
    choice = post(arguments.server, "/v1/completions", body)["choices"][0]
    return [value or 0.0 for value in choice["logprobs"]["token_logprobs"]]


def rounded(value: float) -> float:
    return round(float(value), 4)


def summary(texts: list[DoseText]) -> str:
    """Markdown: a table for each subject, a row a strength, and the rank correlation of each column below it."""
    lines = [f"{name}: {meaning}" for name, meaning in MEANINGS.items()]
    for subject, found in doses(texts).items():
        rows = [["strength", "texts", *MEANINGS, "perplexity by the base"]]
        for dose in found:
            means = [f"{mean:.2f} ± {half:.2f}" for mean, half in (dose.means[name] for name in MEANINGS)]
            strength = "" if dose.strength is None else f"{dose.strength:g}"
            rows.append([strength, str(dose.texts), *means, f"{dose.perplexity:.2f}"])
        if len(found) > 2:
            strengths = [dose.strength for dose in found]
            columns = [[dose.means[name][0] for dose in found] for name in MEANINGS]
            columns.append([dose.perplexity for dose in found])
            rows.append(["Spearman", "", *(f"{spearman(strengths, column):.2f}" for column in columns)])
        lines += ["", subject, "", *markdown_lines(rows)]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
