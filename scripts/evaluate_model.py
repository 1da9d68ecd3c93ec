"""Held-out loss and perplexity of a model, with or without an adapter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from toast.adapter_file import load_adapter_for
from toast.checkpoint import load_model
from toast.data import TextSource, document_examples, read_file, tokenize
from toast.evaluation import Logits, half_of, measure_losses, response_batches, text_batches
from toast.files import write_atomically, write_json
from toast.hashing import backbone_hash
from toast.prompts import ALPACA_HELD_OUT, reference_examples
from toast.settings import chat_format, command, document_ids, instruction_data, run_command, special_ids
from toast.steering import SteeredModel
from toast.tokenizer import load_tokenizer
from toast.trainer import limit_threads

DESCRIPTION = """\
Measure a model on what no command trained on: the response loss on held-out instructions, and the loss on held-out
documents of general text (the same splits as in training: keep --held-out-percent and --held-out as they were). With
--adapter the steered model is measured, at each --strength given.

Prints JSON (and writes it to --out): loss in nats per token, perplexity, the number of tokens behind them, and 95 %
bootstrap intervals over examples (or blocks of text). Perplexities are per token, so they compare only between models
that share a tokenizer; bits per byte of general text compare between all. --half takes one half of the held-out
instructions, so that a learning rate can be chosen on one and reported on the other. --documents measures whole files
(write_held_out.py makes some) exactly as 'toast-serve perplexity --text FILE' does, to compare the two.

example:
  python evaluate_model.py --model runs/base --adapter runs/tuned/adapter.safetensors --strength 0.5 --strength 1 \\
      --data data/alpaca_data.json --text data/openwebtext.jsonl.xz --out runs/result.json
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--adapter", type=Path, help="an adapter of this model (.safetensors)")
    parser.add_argument("--strength", type=float, action="append", help="scale of the steering; may be repeated")
    parser.add_argument("--data", type=Path, help="instruction data, as for tune_adapter.py")
    parser.add_argument("--format", choices=("alpaca", "vicuna", "chat"), default="alpaca", help="as for tuning")
    parser.add_argument(
        "--opening",
        type=Path,
        help="messages (JSON list of {role, content}) before every conversation, with --format chat: what a prompt "
        "alone can do",
    )
    parser.add_argument("--held-out", type=int, default=ALPACA_HELD_OUT, help="instructions held out")
    parser.add_argument("--half", choices=("choosing", "reporting"), help="measure every other of them only")
    parser.add_argument("--max-length", type=int, default=1024, help="longest example in tokens; longer ones are cut")
    parser.add_argument(
        "--references",
        action="append",
        default=[],
        metavar="FILE[,ANSWERS]",
        help="instructions with answers, as JSON lines (Self-Instruct's, Alpaca's, or Vicuna's questions and answers)",
    )
    parser.add_argument("--text", action="append", default=[], metavar="PATH[:MAX_MB]", help="text; each is measured")
    parser.add_argument(
        "--documents",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="text, .jsonl or .txt, of which everything is measured, each document from its own beginning",
    )
    parser.add_argument("--max-tokens", type=int, default=50_000, help="measure so many tokens of --documents at most")
    parser.add_argument("--held-out-percent", type=float, default=2.0, help="share of documents held out")
    parser.add_argument("--block", type=int, default=512, help="tokens that a prediction may look back over")
    parser.add_argument("--max-blocks", type=int, help="measure at most so many blocks of each text")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--cache", type=Path, default=Path(".cache/tokens"), help="folder for tokenized text")
    parser.add_argument("--out", type=Path, help="file for the JSON")
    parser.add_argument("--losses", type=Path, help="file (.npz) for what each example cost, to compare models with")
    arguments = parser.parse_args()
    if arguments.strength and not arguments.adapter:
        parser.error("--strength needs an --adapter")
    if not (arguments.data or arguments.text or arguments.references or arguments.documents):
        parser.error("nothing to measure: give --data, --references, --text or --documents")

    limit_threads()
    model = load_model(arguments.model).eval()
    measured: dict[str, Logits] = {"plain": model}
    if arguments.adapter:
        adapter, _ = load_adapter_for(arguments.adapter, backbone_hash(arguments.model))
        steered = SteeredModel(model, adapter)
        strengths = arguments.strength or [1.0]
        measured = {f"strength {s:g}": lambda ids, s=s: steered(ids, s).logits for s in strengths}
    special = special_ids(model.config)
    instructions = None
    if arguments.data:
        instructions = instruction_data(arguments, arguments.model, model.config, only_held_out=True)
    tokenizer = load_tokenizer(arguments.model)
    texts = {
        value: tokenize(
            [TextSource.parse(value)],
            "held_out",
            arguments.held_out_percent,
            tokenizer,
            *document_ids(tokenizer, model.config),
            arguments.cache,
        )
        for value in arguments.text
    }
    chat = chat_format(arguments, arguments.model)
    references = {
        value: reference_examples(value, tokenizer, special, arguments.max_length, chat)
        for value in arguments.references
    }
    length = min(arguments.block, model.config.max_position_embeddings)
    documents = {
        path: document_examples(read_file(path), tokenizer, special.bos, length, arguments.max_tokens)
        for path in arguments.documents
    }
    results = []
    each: dict[str, np.ndarray] = {}
    for title, logits in measured.items():
        result: dict[str, object] = {"model": str(arguments.model), "steering": title}
        if arguments.adapter:
            result["adapter"] = str(arguments.adapter)
        if instructions:
            examples = (
                instructions.held_out if arguments.half is None else half_of(instructions.held_out, arguments.half)
            )
            ordered = response_batches(examples, special.eos, arguments.batch_size)
            losses = ordered.in_file_order(measure_losses(logits, ordered.batches, f"{title}, responses"))
            result["responses"] = {
                **losses.described(),
                "examples": len(examples),
                "format": arguments.format,
            }
            each |= losses.arrays(f"{title}/responses")
        for value, examples in references.items():
            name = Path(value.split(",")[0]).stem
            ordered = response_batches(examples, special.eos, arguments.batch_size)
            losses = ordered.in_file_order(measure_losses(logits, ordered.batches, f"{title}, {name}"))
            result[f"references {name}"] = {**losses.described(), "examples": len(examples)}
            each |= losses.arrays(f"{title}/{name}")
        for path, examples in documents.items():
            ordered = response_batches(examples, special.eos, arguments.batch_size)
            losses = ordered.in_file_order(measure_losses(logits, ordered.batches, f"{title}, {path.name}"))
            result[f"documents {path.name}"] = losses.described()
        for value, tokens in texts.items():
            batches = text_batches(tokens, arguments.block, arguments.batch_size, arguments.max_blocks)
            name = Path(TextSource.parse(value).path).name
            losses = measure_losses(logits, batches, f"{title}, {name}")
            result[f"text {name}"] = losses.described(tokens.byte_count / tokens.token_count)
        results.append(result)
    print(json.dumps(results, indent=2))
    if arguments.losses:
        write_atomically(arguments.losses, lambda path: np.savez(path.open("wb"), **each))
    if arguments.out:
        write_json(arguments.out, results)


if __name__ == "__main__":
    run_command(main)
