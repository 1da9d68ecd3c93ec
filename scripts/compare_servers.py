#!/usr/bin/env python3
"""Greedy texts of two servers of one model, token by token: the same, or how near two tokens lay where they part.

Both speak /v1/completions with log probabilities; llama.cpp's server and this one do. With --vector the first steers
with a control vector, as the other was started with. Standard library only.

example:
  llama-server -m model-f32.gguf --port 8081 & npx toast-serve serve --model fp32 &
  python compare_servers.py http://127.0.0.1:8000 http://127.0.0.1:8081
  llama-server -m model-f32.gguf --port 8082 --control-vector-scaled happy.gguf:0.8 &
  python compare_servers.py http://127.0.0.1:8000 http://127.0.0.1:8082 --vector happy@0.8
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request

PROMPTS = [
    "The capital of France is",
    "Water boils at a temperature of",
    "Once upon a time there was a small village",
    "The three primary colors are",
    "In 1969, the first humans",
    "def fibonacci(n):",
    "A triangle has three sides and",
    "The best way to learn a language is",
    "Photosynthesis is the process by which",
    "My favorite season is autumn because",
    "To make a cup of tea, first",
    "The heart pumps blood through",
    "Dear Sir or Madam,\n\nI am writing to",
    "The difference between weather and climate is",
    "1, 2, 3, 4, 5,",
    "Shakespeare wrote many plays, among them",
    "If it rains tomorrow, we will",
    "The largest planet in our solar system is",
    "SELECT name FROM users WHERE",
    "Regular exercise is important because",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ours", help="address of a server, such as http://127.0.0.1:8000")
    parser.add_argument("peer", help="address of the other, serving the same weights")
    parser.add_argument("--model", default=None, help="model id to ask the first for")
    parser.add_argument("--vector", action="append", default=[], metavar="NAME[@STRENGTH]", help="may be repeated")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer (default: 64)")
    parser.add_argument("--bound", type=float, default=0.05, help="largest gap at a parting (default: 0.05)")
    args = parser.parse_args()
    vectors = [{"name": name, "strength": float(strength or 1)} for name, strength in map(split, args.vector)]
    own = ({} if args.model is None else {"model": args.model}) | (
        {"steering": {"vectors": vectors}} if vectors else {}
    )
    partings = 0
    worst = 0.0
    for prompt in PROMPTS:
        ours = complete(args.ours, prompt, args.tokens, own)
        peer = complete(args.peer, prompt, args.tokens, {})
        place = next((i for i, (a, b) in enumerate(zip(ours, peer, strict=False)) if a[0] != b[0]), None)
        if place is None:
            print(f"same     {min(len(ours), len(peer)):3} tokens  {prompt!r}")
            continue
        # Behind the same words: how near the two tokens lay, by the server that saw them nearer.
        gap = min(spread(tops, ours[place][0], peer[place][0]) for tops in (ours[place][1], peer[place][1]))
        partings += 1
        worst = max(worst, gap)
        print(f"parts at {place:3}, gap {gap:.4f}  {prompt!r}: {ours[place][0]!r} and {peer[place][0]!r}")
    print(f"{len(PROMPTS) - partings} of {len(PROMPTS)} the same; largest gap at a parting {worst:.4f}")
    return 0 if worst < args.bound else 1


def split(vector: str) -> tuple[str, str]:
    name, _, strength = vector.partition("@")
    return name, strength


def complete(base: str, prompt: str, tokens: int, more: dict) -> list[tuple[str, dict[str, float]]]:
    """Tokens with the log probabilities of the likeliest five at each place."""
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "repetition_penalty": 1, "logprobs": 5, **more}
    request = urllib.request.Request(
        f"{base.rstrip('/')}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as response:
        logprobs = json.load(response)["choices"][0]["logprobs"]
    if "content" in logprobs:  # llama.cpp answers in the shape of chat completions
        return [(c["token"], {t["token"]: t["logprob"] for t in c["top_logprobs"]}) for c in logprobs["content"]]
    return list(zip(logprobs["tokens"], logprobs["top_logprobs"], strict=True))


def spread(tops: dict[str, float], one: str, other: str) -> float:
    """How far apart two tokens lie; far, when one is not even among the likeliest."""
    return abs(tops[one] - tops[other]) if one in tops and other in tops else float("inf")


if __name__ == "__main__":
    sys.exit(main())
