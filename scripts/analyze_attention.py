"""Where a steered model looks while it responds, and what attention brings it from there, by part of the prompt."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer
from tqdm import tqdm

from toast.adapter_file import load_adapter_for
from toast.attention import BaseLook, MarkedExample, Steering, mark, summarize
from toast.chat_template import load_chat_template
from toast.checkpoint import load_model
from toast.data import DataError
from toast.files import write_atomically
from toast.hashing import backbone_hash
from toast.prompts import ALPACA_HELD_OUT, read_alpaca
from toast.settings import command, run_command, special_ids
from toast.steering import SteeredModel
from toast.tokenizer import load_tokenizer
from toast.trainer import limit_threads

DESCRIPTION = """\
Run a base and adapters of it over held-out instructions and their responses, and write one line of JSON for each
adapter and strength: by part of the prompt (the first token, the system text, the template's own tokens, the
instruction, its input, the response so far) how much of the attention of the response's tokens falls on it, how much
attention brings from it, how far that moves by steering, and how relevant its tokens are to the adapter; with 95 %
bootstrap intervals over examples, and layer by layer; and of one example token by token. plot_attention.py draws it.

An adapter that is only there as it is served: unfold_adapter.py.

example:
  python analyze_attention.py --model runs/base --adapter alpaca=runs/tuned/adapter.safetensors --strength 0.5 \\
      --strength 1 --data alpaca_data.json --format chat --held-out 120 --out runs/attention.jsonl
"""

SHOWN_TOKENS, SHOWN_RESPONSE = 130, 16
"""The example whose tokens are told one by one is the first with an input, no more tokens and no shorter response."""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, help="folder of the base, or a .gguf file")
    parser.add_argument(
        "--adapter", action="append", required=True, metavar="NAME=FILE", help="an adapter of it; may be repeated"
    )
    parser.add_argument("--strength", type=float, action="append", help="scale of the steering; may be repeated")
    parser.add_argument("--data", type=Path, required=True, help="Alpaca data; its held-out entries are looked at")
    parser.add_argument("--format", choices=("alpaca", "chat"), default="alpaca", help="as for tuning")
    parser.add_argument("--held-out", type=int, default=ALPACA_HELD_OUT, help="instructions held out")
    parser.add_argument("--examples", type=int, default=300, help="look at so many of them")
    parser.add_argument("--max-length", type=int, default=512, help="longest example in tokens; longer ones are cut")
    parser.add_argument("--out", type=Path, required=True, help="file for the figures, .jsonl")
    arguments = parser.parse_args()

    limit_threads()
    backbone, bound = load_model(arguments.model).eval(), backbone_hash(arguments.model)
    models = {}
    for value in arguments.adapter:
        name, found, file = value.partition("=")
        if not found:
            parser.error(f"--adapter {value}: write NAME=FILE")
        models[name] = SteeredModel(backbone, load_adapter_for(Path(file), bound)[0]).eval()
    strengths = arguments.strength or [1.0]
    tokenizer, special = load_tokenizer(arguments.model), special_ids(backbone.config)
    template = load_chat_template(arguments.model) if arguments.format == "chat" else None
    entries = read_alpaca(arguments.data, arguments.held_out).held_out[: arguments.examples]
    examples = [mark(entry, tokenizer, special, arguments.max_length, template) for entry in entries]
    examples = [example for example in examples if "response" in example.parts]
    if not examples:
        raise DataError(f"no response begins within --max-length {arguments.max_length}")
    steerings = [Steering(name, strength, [], []) for name in models for strength in strengths]
    shown = BaseLook(next(iter(models.values())), next(filter(is_short, examples), examples[0]))
    for example in tqdm(examples, desc="looking", unit="example"):
        base = BaseLook(next(iter(models.values())), example)
        for steering in steerings:
            steering.relevance.append(base.relevance(models[steering.adapter]))
            steering.seen.append(base.steered(models[steering.adapter], steering.strength))
    text = {"pieces": written(shown.example.ids, tokenizer), "parts": shown.example.parts}
    lines = [
        json.dumps(
            summarize(steering, examples)
            | {"shown": text | shown.by_token(models[steering.adapter], steering.strength)}
        )
        + "\n"
        for steering in steerings
    ]
    write_atomically(arguments.out, lambda path: path.write_text("".join(lines)))
    print(f"{arguments.out}: {len(steerings)} steerings of {len(examples)} examples")


def is_short(example: MarkedExample) -> bool:
    has_input = "input" in example.parts
    return has_input and len(example.ids) <= SHOWN_TOKENS and example.parts.count("response") >= SHOWN_RESPONSE


def written(ids: list[int], tokenizer: Tokenizer) -> list[str]:
    """What each token adds to the text before it."""
    grown = [tokenizer.decode(ids[:end], skip_special_tokens=False) for end in range(len(ids) + 1)]
    return [after[len(before) :] for before, after in pairwise(grown)]


if __name__ == "__main__":
    run_command(main)
