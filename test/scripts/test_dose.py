"""Dose and effect: what is asked of a server, what is measured of its texts, and what the figures say."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conftest import SCRIPTS, run_command
from toast.data import DataError
from toast.dose import DoseText, coherent_range, doses, read_texts, spearman, write_texts
from toast.scores import PIRATE_WORDS, contractions, read_words, repetition, share_of, words_of


class FakeServer(ThreadingHTTPServer):
    """Writes words of joy where a plus steers, of gloom else, and finds all tokens equally likely."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class FakeHandler(BaseHTTPRequestHandler):
    server: FakeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, body))
        if body["model"] != "mine":
            self.answer(404, {"error": {"message": "The model is not served here."}})
        elif self.path == "/tokenize":
            self.answer(200, {"tokens": list(range(sum(len(m["content"].split()) for m in body["messages"])))})
        elif self.path == "/v1/completions":
            logprobs = [None] + [-0.5] * (len(body["prompt"]) - 1)
            self.answer(200, {"choices": [{"logprobs": {"token_logprobs": logprobs}}]})
        else:
            steering = body.get("steering", {})
            strength = sum(v["strength"] for v in steering.get("vectors", [])) + steering.get("strength", 0)
            text = "It is great. " * round(2 * strength) if strength > 0 else "It is awful. "
            self.answer(200, {"choices": [{"message": {"content": text + "Yes."}}]})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    served = FakeServer()
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def text(
    strength: float | None, sentiment: float, logprob: float = -1.0, subject: str = "vector happy", prompt: str = "?"
) -> DoseText:
    return DoseText(subject, strength, prompt, "text", 2, logprob, {"sentiment": sentiment})


def test_words_with_the_apostrophes_of_pirates():
    assert words_of("’Tis o' the sea, don’t ye know?") == ["'tis", "o'", "the", "sea", "don't", "ye", "know"]
    listed = read_words(PIRATE_WORDS)
    assert len(listed) > 50
    assert not any(word.startswith("#") for word in listed)
    assert share_of(words_of("'Tis o' the sea 'ahoy'"), listed) == pytest.approx(60)
    assert share_of([], listed) == 0


def test_contractions_and_repetition():
    assert contractions("I don't think it's so.") == pytest.approx(40)
    assert contractions("") == 0
    assert repetition(words_of("a b c d a b c d")) == pytest.approx(20)
    assert repetition(["a"]) == 0


def test_doses_have_the_base_as_strength_0_and_prompts_stand_alone():
    base = [text(0.0, 0.5, subject="base", prompt=prompt) for prompt in "abc"]
    steered = [text(1.0, 0.7, prompt="a"), text(1.0, 0.9, prompt="b")]
    found = doses([*base, *steered, text(None, 1.0, subject="prompt x")])
    assert [(dose.strength, dose.texts) for dose in found["vector happy"]] == [(0, 2), (1, 2)]
    mean, half = found["vector happy"][1].means["sentiment"]
    assert (mean, half) == (pytest.approx(0.8), pytest.approx(1.96 * 0.1))
    assert found["vector happy"][1].perplexity == pytest.approx(math.exp(0.5))
    assert [dose.strength for dose in found["prompt x"]] == [None]
    with pytest.raises(DataError, match="'vector happy' has no prompt with a text at every strength"):
        doses([*base, text(1.0, 0.7, prompt="d")])


def test_rank_correlation_shares_the_ranks_of_equal_values():
    assert spearman([1, 2, 3], [10, 20, 15]) == pytest.approx(0.5)
    assert spearman([1, 2, 3, 4], [1, 1, 2, 3]) == pytest.approx(0.9486833)  # scipy.stats.spearmanr
    assert math.isnan(spearman([1, 2], [3, 3]))


def test_the_range_ends_before_the_first_strength_that_is_too_far():
    ratios = {-1: 1.6, -0.5: 1.2, 0: 1.0, 0.5: 1.4, 1: 1.7, 1.5: 1.1}
    found = doses([text(strength, 0, -2 * math.log(ratio)) for strength, ratio in ratios.items()])
    assert coherent_range(found["vector happy"]) == (-0.5, 0.5)
    assert coherent_range(found["vector happy"][3:]) is None


def test_texts_are_read_as_they_were_written(tmp_path: Path):
    path = tmp_path / "texts.jsonl"
    write_texts(path, [text(1.0, 0.5), text(0.0, 0.25, subject="base")])
    assert [one.subject for one in read_texts(path)] == ["base", "vector happy"]
    path.write_text('{"subject": "base"}\n')
    run = run_command(
        "plot_dose.py", "--texts", path, "--show", "base=sentiment", "--out", tmp_path / "p.svg", check=False
    )
    assert (run.status, "line 1: not a text" in run.stderr) == (2, True)


def test_prompts_are_fifty_that_ask_once_each():
    lines = (SCRIPTS / "experiments/neutral_prompts.txt").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 50


def test_measures_goes_on_and_draws(tmp_path: Path, server: FakeServer):
    for package in ("textstat", "empath", "vaderSentiment"):
        pytest.importorskip(package, reason="scoring needs requirements-style.txt")
    out, page = tmp_path / "dose.jsonl", tmp_path / "page.md"
    given = ("--server", server.url, "--model", "mine", "--limit", 2, "--vector", "happy", "--out", out)
    first = run_command("measure_dose.py", *given, "--strength", 1)
    assert "vector happy" in first.stdout
    asked = len(server.asked)
    second = run_command(
        "measure_dose.py", *given, "--strength", -1, "--strength", 1, "--adapter", "poet", "--system", "Be happy."
    )
    assert "prompt Be happy." in second.stdout
    texts = read_texts(out)
    # Base, the vector at −1 and 1, the adapter at 1 (a fake server takes −1, too), the prompt: two prompts each.
    assert len(texts) == 2 * 6
    new = [body for path, body in server.asked[asked:] if path == "/v1/chat/completions"]
    assert len(new) == 2 * 4, "what stood there was asked for again"
    assert {"role": "system", "content": "Be happy."} in [message for body in new for message in body["messages"]]
    # The persona is no part of what the base judges.
    judged = [body for path, body in server.asked if path == "/tokenize"]
    assert not any(message["role"] == "system" for body in judged for message in body["messages"])
    assert all(one.tokens > 0 and one.logprob == pytest.approx(-0.5 * one.tokens) for one in texts)
    page.write_text("<!-- table:dose --><!-- /table -->")
    show = ("--show", "vector happy=sentiment=Be happy.", "--page", page, "--out", tmp_path / "dose.svg")
    run_command("plot_dose.py", "--texts", out, *show)
    assert "| vector happy | sentiment | −0." in page.read_text()
    assert "1.00 |" in page.read_text()
    assert "sentiment" in (tmp_path / "dose.svg").read_text()


def test_what_goes_wrong_is_said_in_a_line(tmp_path: Path, server: FakeServer):
    for package in ("textstat", "empath", "vaderSentiment"):
        pytest.importorskip(package, reason="scoring needs requirements-style.txt")
    given = ("--limit", 1, "--vector", "happy", "--out", tmp_path / "dose.jsonl")
    refused = run_command("measure_dose.py", "--server", server.url, "--model", "other", *given, check=False)
    assert (refused.status, "not served here" in refused.stderr) == (2, True)
    away = run_command("measure_dose.py", "--server", "http://127.0.0.1:1", "--model", "mine", *given, check=False)
    assert (away.status, "is the server running?" in away.stderr) == (2, True)
    run_command("measure_dose.py", "--server", server.url, "--model", "mine", *given, "--strength", 1)
    plot = ("plot_dose.py", "--texts", tmp_path / "dose.jsonl", "--out", tmp_path / "p.svg", "--show")
    for show, sentence in (("vector happy=joy", "is no measure"), ("vector sad=sentiment", "there is no text of")):
        run = run_command(*plot, show, check=False)
        assert (run.status, sentence in run.stderr) == (2, True)
