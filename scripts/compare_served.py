"""Log probabilities of a served model, steered or not, against PyTorch's on the same prompts."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tqdm import tqdm

from toast.adapter_file import load_adapter_for
from toast.checkpoint import load_model
from toast.data import DataError
from toast.hashing import backbone_hash
from toast.server import post
from toast.settings import command, run_command
from toast.steering import SteeredModel
from toast.tokenizer import load_tokenizer

DESCRIPTION = """\
Ask a running server for the log probabilities of the likeliest tokens behind each prompt, compute them in PyTorch, and
say how far they are apart: prompts in the served model's own chat format, one line of --prompts each. A model converted
with --quantize none should agree to 1e-4; an int8 one shows what int8 costs.

Prints one line (and writes every prompt's difference to --out); the status is 1 when one is above --bound.

example:
  npx toast-serve convert runs/smollm2 --out models/fp32 --model-id fp32 --quantize none \\
      --adapter runs/tuned/adapter.safetensors --name alpaca
  npx toast-serve serve --model models/fp32 &
  python compare_served.py --server http://127.0.0.1:8000 --served fp32:alpaca --model runs/smollm2 \\
      --adapter runs/tuned/adapter.safetensors --prompts experiments/neutral_prompts.txt --out runs/served.jsonl
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--server", required=True, help="address, such as http://127.0.0.1:8000")
    parser.add_argument("--served", required=True, help="model id to ask for, such as fp32:alpaca")
    parser.add_argument("--model", type=Path, required=True, help="the same model for PyTorch: a folder")
    parser.add_argument("--adapter", type=Path, help="the adapter that steers (.safetensors)")
    parser.add_argument("--strength", type=float, default=1.0, help="of the steering")
    parser.add_argument("--prompts", type=Path, required=True, help="text file, one prompt a line")
    parser.add_argument("--top", type=int, default=5, help="likeliest tokens to compare")
    parser.add_argument("--bound", type=float, default=1e-4, help="largest difference of a log probability")
    parser.add_argument("--out", type=Path, help="file for the differences (.jsonl)")
    arguments = parser.parse_args()
    prompts = [line for line in arguments.prompts.read_text().splitlines() if line.strip() and line[0] != "#"]
    if not prompts:
        raise DataError(f"{arguments.prompts} has no prompt")

    backbone = load_model(arguments.model).eval()
    tokenizer = load_tokenizer(arguments.model)
    steered = None
    if arguments.adapter is not None:
        adapter, _ = load_adapter_for(arguments.adapter, backbone_hash(arguments.model))
        steered = SteeredModel(backbone, adapter).eval()

    records = []
    for prompt in tqdm(prompts, desc="prompts", unit="prompt"):
        rendered = post(arguments.server, "/apply-template", chat(arguments.served, prompt))["prompt"]
        ids = tokenizer.encode(rendered, add_special_tokens=False).ids
        with torch.inference_mode():
            step = torch.tensor([ids])  # (1, T)
            logits = backbone(step) if steered is None else steered(step, arguments.strength).logits
        values, tokens = logits[0, -1].log_softmax(-1).topk(10 * arguments.top)
        expected: dict[str, float] = {}  # by text, as the wire has it; of two alike the likelier, which comes first
        for value, token in zip(values.tolist(), tokens.tolist(), strict=True):
            expected.setdefault(tokenizer.decode([token], skip_special_tokens=False), value)
        served = likeliest(arguments.server, arguments.served, ids, arguments.top, arguments.strength)
        difference = max(abs(logprob - expected.get(token, float("-inf"))) for token, logprob in served.items())
        records.append({"prompt": prompt, "tokens": len(ids), "difference": difference})
    worst = max(records, key=lambda record: record["difference"])
    text = "".join(json.dumps(record) + "\n" for record in records)
    if arguments.out is not None:
        arguments.out.write_text(text)
    mean = sum(record["difference"] for record in records) / len(records)
    print(f"{len(records)} prompts: largest difference {worst['difference']:.2e}, mean of the largest {mean:.2e}")
    if worst["difference"] > arguments.bound:
        raise SystemExit(1)


def chat(model: str, prompt: str) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": prompt}]}


def likeliest(server: str, model: str, ids: list[int], count: int, strength: float) -> dict[str, float]:
    """Texts and log probabilities of the likeliest next tokens."""
    steering = {"steering": {"strength": strength}} if ":" in model else {}
    one = {"max_tokens": 1, "temperature": 0, "repetition_penalty": 1, "logprobs": count}
    body = {"model": model, "prompt": ids, **one}
    answer = post(server, "/v1/completions", {**body, **steering})
    return answer["choices"][0]["logprobs"]["top_logprobs"][0]


if __name__ == "__main__":
    run_command(main)
