"""How likely a served model finds held-out responses, steered or not, against PyTorch: what int8 costs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from toast.adapter_file import load_adapter_for
from toast.checkpoint import load_model
from toast.data import DataError, Example
from toast.evaluation import Losses, measure_losses, response_batches
from toast.files import write_json
from toast.hashing import backbone_hash
from toast.prompts import ALPACA_HELD_OUT
from toast.server import post
from toast.settings import command, instruction_data, run_command, special_ids
from toast.steering import SteeredModel
from toast.trainer import limit_threads

DESCRIPTION = """\
Ask a running server for the log probabilities of held-out responses behind their prompts, compute the same in PyTorch,
and say what a token of a response costs in both, in nats, and by how much they differ, with 95 % bootstrap intervals
over examples (the difference is paired). For a model that is served as int8 the difference is what that costs; steered,
it should be no more than the base's own.

Prints JSON (and writes it to --out, behind what is there, so that several models' figures come together).

example:
  npx toast-serve serve --model ../models/smollm2-135m-instruct &
  python measure_served_loss.py --server http://127.0.0.1:8000 --served SmolLM2-135M-Instruct:alpaca --strength 0.5 \\
      --model SmolLM2-135M-Instruct.Q4_1.gguf --adapter runs/served/alpaca/adapter.safetensors \\
      --data alpaca_data.json --format chat --held-out 120 --out runs/served-loss.json
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--server", required=True, help="address, such as http://127.0.0.1:8000")
    parser.add_argument("--served", required=True, help="model id to ask for, such as fp32:alpaca")
    parser.add_argument("--model", type=Path, required=True, help="the same model for PyTorch: folder or .gguf file")
    parser.add_argument("--adapter", type=Path, help="the adapter that steers (.safetensors)")
    parser.add_argument("--strength", type=float, default=1.0, help="of the steering")
    parser.add_argument("--data", type=Path, required=True, help="instruction data, as for tune_adapter.py")
    parser.add_argument("--format", choices=("alpaca", "vicuna", "chat"), default="alpaca", help="as for tuning")
    parser.add_argument("--held-out", type=int, default=ALPACA_HELD_OUT, help="instructions held out")
    parser.add_argument("--examples", type=int, help="measure so many of them")
    parser.add_argument("--max-length", type=int, default=512, help="longest example in tokens; longer ones are cut")
    parser.add_argument("--batch-size", type=int, default=8, help="examples that PyTorch computes together")
    parser.add_argument("--out", type=Path, help="file for the figures, .json")
    arguments = parser.parse_args()
    if (":" in arguments.served) != (arguments.adapter is not None):
        parser.error("--served and --adapter: name the adapter in both or in neither")

    limit_threads()
    model = load_model(arguments.model).eval()
    logits = model
    if arguments.adapter is not None:
        adapter, _ = load_adapter_for(arguments.adapter, backbone_hash(arguments.model))
        steered = SteeredModel(model, adapter).eval()
        logits = lambda ids: steered(ids, arguments.strength).logits  # noqa: E731
    held_out = instruction_data(arguments, arguments.model, model.config, only_held_out=True).held_out
    examples = held_out[: arguments.examples]
    ordered = response_batches(examples, special_ids(model.config).eos, arguments.batch_size)
    expected = ordered.in_file_order(measure_losses(logits, ordered.batches, "PyTorch"))
    asked = tqdm(examples, desc=arguments.served, unit="example")
    sums = [served_loss(arguments.server, arguments.served, example, arguments.strength) for example in asked]
    served = Losses(np.array(sums), expected.tokens)
    # Both have the same examples and tokens, so the interval of the difference is that of its sums.
    difference = Losses(served.sums - expected.sums, expected.tokens)
    figures = {
        "served": arguments.served,
        "strength": arguments.strength if arguments.adapter else None,
        "examples": len(examples),
        "tokens": int(expected.tokens.sum()),
        "loss of PyTorch": [expected.mean, *expected.interval()],
        "loss as served": [served.mean, *served.interval()],
        "difference": [difference.mean, *difference.interval()],
    }
    print(json.dumps(figures, indent=2))
    if arguments.out is not None:
        before = json.loads(arguments.out.read_text()) if arguments.out.is_file() else []
        write_json(arguments.out, [*before, figures])


def served_loss(server: str, model: str, example: Example, strength: float) -> float:
    """-log p of what is asked of an example, summed, in nats. Raises DataError."""
    steering = {"steering": {"strength": strength}} if ":" in model else {}
    body = {"model": model, "prompt": example.ids, "max_tokens": 0, "echo": True, "logprobs": 1, **steering}
    choice = post(server, "/v1/completions", body)["choices"][0]
    logprobs = choice["logprobs"]["token_logprobs"]
    if len(logprobs) != len(example.ids):
        raise DataError(f"{server} told {len(logprobs)} log probabilities of {len(example.ids)} tokens")
    return -sum(value for value, asked in zip(logprobs, example.asked, strict=True) if asked)


if __name__ == "__main__":
    run_command(main)
