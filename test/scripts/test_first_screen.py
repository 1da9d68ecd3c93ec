"""The recording of the page's first screen: what is asked, and what is written of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conftest import run_command

ADAPTERS = ["novelist", "stories", "alpaca"]


class FakeHandler(BaseHTTPRequestHandler):
    """Says how it is steered, and is cut in the middle of a word."""

    def do_GET(self) -> None:
        self.answer({"data": [{"name": name, "fingerprint": f"of {name}"} for name in ("happy", "pirate")]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        steering = json.dumps(body.get("steering", "plain"))
        choice = {"message": {"content": f" {steering} and mo"}, "finish_reason": "length"}
        self.answer({"choices": [choice]})

    def answer(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeHandler) as fake:
        threading.Thread(target=fake.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{fake.server_port}"
        fake.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "manifest.json").write_text(json.dumps({"id": "mine", "backboneSha256": "b"}))
    for name in ADAPTERS:
        own = tmp_path / "adapters" / name
        own.mkdir(parents=True)
        (own / "manifest.json").write_text(json.dumps({"files": {"weights": {"sha256": f"of {name}"}}}))
    return tmp_path


def test_every_answer_is_at_its_strength_and_names_what_it_follows_from(server: str, folder: Path) -> None:
    out = folder / "recorded.json"
    run_command("record_first_screen.py", "--server", server, "--folder", folder, "--out", out)
    recording = json.loads(out.read_text())
    assert [recording[key] for key in ("model", "backboneSha256", "seed")] == ["mine", "b", 1]
    assert [(one["name"], one["sha256"]) for one in recording["adapters"]] == [(n, f"of {n}") for n in ADAPTERS]
    assert [one["fingerprint"] for one in recording["vectors"]] == ["of happy", "of pirate"]
    texts = {one["strength"]: one["text"] for one in recording["adapters"][0]["answers"]}
    # At 0 nothing steers; a word that was cut is left out.
    assert texts[0] == '"plain" and …'
    assert texts[1.5] == '{"adapter": "novelist", "strength": 1.5} and …'
    happy = {one["strength"]: one["text"] for one in recording["vectors"][0]["answers"]}
    assert happy[-1] == '{"vectors": [{"name": "happy", "strength": -1}]} and …'


def test_a_server_that_is_away_is_told_of(folder: Path) -> None:
    given = ["--server", "http://127.0.0.1:1", "--folder", folder, "--out", folder / "recorded.json"]
    ended = run_command("record_first_screen.py", *given, check=False)
    assert ended.status == 1
    assert "is the server running?" in ended.stderr
    assert not (folder / "recorded.json").exists()
