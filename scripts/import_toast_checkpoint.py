"""Split an official TOAST checkpoint (.bin) into a backbone folder and an adapter file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from toast.adapter_file import AdapterFacts, adapter_from_tensors, is_adapter_name, save_adapter
from toast.checkpoint import load_config, read_pickled, save_model
from toast.files import BadFolder
from toast.hashing import backbone_hash
from toast.settings import command, run_command
from toast.tokenizer import add_pad_token, load_tokenizer, save_tokenizer_again

DESCRIPTION = """\
Split an official TOAST checkpoint into a plain Hugging Face folder (the frozen backbone) and an adapter file. The
checkpoint is the state dict of the whole model: pytorch_model.bin, several of them with an index, or a folder that
holds either. It is unpickled with weights_only, so it can run nothing.

The official training adds a [PAD] token and a row to the embedding; both are kept, and the tokenizer gets the token.
config.json is read beside the checkpoint, or from --config.

Writes OUT/backbone/… and OUT/adapter.safetensors with OUT/adapter.json.

example:
  python import_toast_checkpoint.py --checkpoint toast-llama-7b-alpaca --tokenizer llama-7b --format alpaca \\
      --out runs/imported
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--checkpoint", type=Path, required=True, help="the .bin, its index, or their folder")
    parser.add_argument("--config", type=Path, help="folder with config.json (default: beside the checkpoint)")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.json")
    parser.add_argument(
        "--format", choices=("alpaca", "vicuna", "chat"), help="prompt format that the adapter was tuned with"
    )
    parser.add_argument("--alpha", type=float, default=1.0, help="of TOAST-Lite's factors: they count alpha/rank")
    parser.add_argument("--stage", choices=("pretuned", "tuned"), default="tuned", help="how far it was trained")
    parser.add_argument("--licence", help="licence of the adapter, written into its JSON")
    parser.add_argument("--dtype", choices=("keep", "float32", "float16", "bfloat16"), default="keep")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()

    tensors = read_pickled(arguments.checkpoint)
    adapter_tensors = {name: tensor for name, tensor in tensors.items() if is_adapter_name(name)}
    weights = {
        name: tensor
        for name, tensor in tensors.items()
        if name not in adapter_tensors and not name.endswith("rotary_emb.inv_freq")
    }
    adapter = adapter_from_tensors(adapter_tensors, arguments.alpha)
    beside = arguments.checkpoint if arguments.checkpoint.is_dir() else arguments.checkpoint.parent
    config = load_config(arguments.config or beside)
    if "model.embed_tokens.weight" not in weights:
        raise BadFolder("tensor 'model.embed_tokens.weight' is missing: the checkpoint must hold the whole model")
    rows = weights["model.embed_tokens.weight"].shape[0]
    tokenizer = load_tokenizer(arguments.tokenizer)
    pad_id = tokenizer.token_to_id("[PAD]")
    if pad_id is None and rows == tokenizer.get_vocab_size() + 1:
        pad_id = add_pad_token(tokenizer)
    if rows != tokenizer.get_vocab_size():
        raise BadFolder(f"the embedding has {rows} rows, the tokenizer {tokenizer.get_vocab_size()} tokens")
    config = dataclasses.replace(config, vocab_size=rows, pad_token_id=pad_id)
    dtype = None if arguments.dtype == "keep" else getattr(torch, arguments.dtype)
    backbone = arguments.out / "backbone"
    save_model(weights, config, backbone, tokenizer_from=arguments.tokenizer, dtype=dtype)
    save_tokenizer_again(tokenizer, backbone, pad_token=None if pad_id is None else "[PAD]")
    sha256 = backbone_hash(backbone)
    facts = AdapterFacts(sha256, arguments.stage, arguments.format, arguments.licence)
    save_adapter(adapter, arguments.out / "adapter.safetensors", facts)
    print(json.dumps({"backbone": str(backbone), "backbone_sha256": sha256, "kind": adapter.kind}, indent=2))


if __name__ == "__main__":
    run_command(main)
