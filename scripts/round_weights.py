"""Write a model in a narrower number format, with the adapters that were trained on it bound to the rounded weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from toast.adapter_file import AdapterFacts, load_adapter_for, save_adapter
from toast.checkpoint import load_config, read_tensors, save_model
from toast.hashing import backbone_hash
from toast.settings import command, run_command

DESCRIPTION = """\
Write a model folder with its weights rounded to another number format; bfloat16 halves float32. Each --adapter, which
must have been made for exactly this model, is written again, its numbers unchanged, bound to the rounded weights.
Measure the rounded pair, not the one before: an adapter knows its backbone by every bit.

Writes OUT (a Hugging Face folder) and, for each adapter, OUT/<its file name> with its JSON.

example:
  python round_weights.py --model runs/base --adapter runs/tuned/adapter.safetensors --dtype bfloat16 --out runs/rounded
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--adapter", type=Path, action="append", default=[], help="an adapter of it; may be repeated")
    parser.add_argument("--dtype", choices=("bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()

    sha256 = backbone_hash(arguments.model)
    adapters = {path.name: load_adapter_for(path, sha256) for path in arguments.adapter}
    dtype = getattr(torch, arguments.dtype)
    tensors = dict(read_tensors(arguments.model))
    save_model(tensors, load_config(arguments.model), arguments.out, tokenizer_from=arguments.model, dtype=dtype)
    rounded = backbone_hash(arguments.out)
    for name, (adapter, described) in adapters.items():
        said = {field.name: described.get(field.name) for field in dataclasses.fields(AdapterFacts)}
        facts = AdapterFacts(**said | {"backbone_sha256": rounded})
        save_adapter(adapter, arguments.out / name, facts)
    print(f"{sha256[:12]} in {arguments.dtype} is {rounded[:12]}, {len(adapters)} adapters -> {arguments.out}")


if __name__ == "__main__":
    run_command(main)
