#!/usr/bin/env python3
"""What the page's first screen shows before anybody has asked: answers of the shipped model at five strengths each.

Asks a running server that serves the model folder, and writes OUT with what the answers follow from: the hash of the
weights, those of the adapters, the fingerprints of the vectors, the seed. A test holds it against the shipped folder.

example:
  npx toast-serve serve &
  python record_first_screen.py --folder ../models/smollm2-135m-instruct --out ../src/web/first/recorded.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from toast.data import DataError
from toast.server import get, post

ADAPTER_STRENGTHS = [0, 0.5, 1, 1.5, 2]
ADAPTERS = {
    "novelist": "What should I eat for breakfast?",
    "stories": "Tell me a story about a lonely robot.",
    "alpaca": "Give three tips for staying healthy.",
}
VECTORS = {
    "happy": ("What do you think about Monday mornings?", [-1, -0.5, 0, 0.5, 1]),
    "pirate": ("What do you think about Monday mornings?", [0, 0.25, 0.5, 0.75, 1]),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8000", help="address of the server")
    parser.add_argument("--folder", type=Path, required=True, help="the model folder that it serves")
    parser.add_argument("--seed", type=int, default=1, help="of every answer (default: 1)")
    parser.add_argument("--max-tokens", type=int, default=70, help="of an answer (default: 70)")
    parser.add_argument("--out", type=Path, required=True, help="the recording, .json")
    arguments = parser.parse_args()
    try:
        recording = record(arguments)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    arguments.out.write_text(json.dumps(recording, ensure_ascii=False, indent=2) + "\n")
    return 0


def record(arguments: Any) -> dict[str, Any]:
    """All answers, and what they follow from."""
    manifest = json.loads((arguments.folder / "manifest.json").read_text())
    model = manifest["id"]
    fingerprints = {one["name"]: one["fingerprint"] for one in get(arguments.server, "/v1/vectors")["data"]}
    adapters = []
    for name, prompt in ADAPTERS.items():
        own = json.loads((arguments.folder / "adapters" / name / "manifest.json").read_text())
        answers = [
            answer(arguments, model, prompt, strength, {"adapter": name, "strength": strength})
            for strength in ADAPTER_STRENGTHS
        ]
        sha256 = own["files"]["weights"]["sha256"]
        adapters.append({"name": name, "sha256": sha256, "prompt": prompt, "answers": answers})
    vectors = []
    for name, (prompt, strengths) in VECTORS.items():
        answers = [
            answer(arguments, model, prompt, strength, {"vectors": [{"name": name, "strength": strength}]})
            for strength in strengths
        ]
        vectors.append({"name": name, "fingerprint": fingerprints[name], "prompt": prompt, "answers": answers})
    return {
        "model": model,
        "backboneSha256": manifest["backboneSha256"],
        "seed": arguments.seed,
        "adapters": adapters,
        "vectors": vectors,
    }


def answer(arguments: Any, model: str, prompt: str, strength: float, steering: dict[str, Any]) -> dict[str, Any]:
    """One answer, up to its last whole word where the limit cut it."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "seed": arguments.seed,
        "max_tokens": arguments.max_tokens,
        **({} if strength == 0 else {"steering": steering}),
    }
    choice = post(arguments.server, "/v1/chat/completions", body)["choices"][0]
    text = choice["message"]["content"].strip()
    if choice["finish_reason"] == "length":
        text = text.rsplit(maxsplit=1)[0] + " …"
    return {"strength": strength, "text": text}


if __name__ == "__main__":
    raise SystemExit(main())
