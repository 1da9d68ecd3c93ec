"""Train a LLaMA-style base model from scratch on plain text."""

from __future__ import annotations

from pathlib import Path

import torch

from toast.checkpoint import load_model, save_model
from toast.data import PackedBlocks
from toast.llama import LlamaConfig, LlamaForCausalLM
from toast.objectives import PlainObjective
from toast.parallel import World
from toast.settings import (
    add_text_arguments,
    add_training_arguments,
    command,
    describe_arguments,
    held_out_blocks,
    packed_text,
    run_command,
    train_settings,
)
from toast.tokenizer import BEGIN, END, load_tokenizer
from toast.trainer import Trainer, TrainingError, limit_threads

DESCRIPTION = """\
Train a LLaMA-style base model from scratch on plain text and write it as a Hugging Face folder.

Documents are tokenized once (BOS + text + EOS, one after another), cut into blocks and shuffled. A share of the
documents, chosen by the hash of their text, is held out for evaluate_model.py. The folder is written anew at every
checkpoint, so an early version can be tried while the run goes on; --resume goes on after any interruption.
--start-from takes an earlier run's weights instead of fresh ones: a second phase with longer blocks or another mix.

example:
  python pretrain_base.py --tokenizer runs/tokenizer --text data/web.jsonl.xz --text data/books:5 \\
      --minutes 60 --out runs/base
  python pretrain_base.py --start-from runs/base --block 1024 --tokenizer runs/tokenizer --text data/web.jsonl.xz \
      --minutes 20 --out runs/base-long
  torchrun --nproc-per-node 4 pretrain_base.py …       (several GPUs, sharded)
"""


def started_from(folder: Path, config: LlamaConfig, tokenizer: Path) -> LlamaForCausalLM:
    """An earlier run's model. Raises TrainingError where its shape or tokenizer is not the one asked for."""
    model = load_model(folder)
    theirs, asked = model.config.to_hf(), config.to_hf()
    # Nothing in the weights depends on how long a context they were meant for.
    different = [key for key in asked if theirs[key] != asked[key] and key != "max_position_embeddings"]
    if different:
        key = different[0]
        raise TrainingError(f"--start-from {folder} has {key} {theirs[key]}, not {asked[key]}: give it the same shape")
    if (folder / "tokenizer.json").read_bytes() != (tokenizer / "tokenizer.json").read_bytes():
        raise TrainingError(f"--start-from {folder} was trained with another tokenizer than {tokenizer}")
    model.config = model.model.config = config
    return model


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with tokenizer.json")
    add_text_arguments(parser)
    shape = parser.add_argument_group("shape of the decoder")
    shape.add_argument("--hidden-size", type=int, default=256)
    shape.add_argument("--layers", type=int, default=6)
    shape.add_argument("--heads", type=int, default=8)
    shape.add_argument("--kv-heads", type=int, default=4)
    shape.add_argument("--intermediate-size", type=int, default=704)
    shape.add_argument("--context", type=int, default=1024, help="max_position_embeddings")
    shape.add_argument("--rope-theta", type=float, default=10000.0)
    shape.add_argument("--untied", action="store_true", help="give the output head weights of its own")
    parser.add_argument("--start-from", type=Path, help="folder of a model of this shape and tokenizer to go on from")
    add_training_arguments(parser, learning_rate=2e-3, batch_size=8, accumulate=2)
    parser.set_defaults(weight_decay=0.1)
    arguments = parser.parse_args()

    limit_threads()
    world = World.join()
    tokenizer = load_tokenizer(arguments.tokenizer)
    bos_id, eos_id = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=arguments.hidden_size,
        intermediate_size=arguments.intermediate_size,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.heads,
        num_key_value_heads=arguments.kv_heads,
        head_dim=arguments.hidden_size // arguments.heads,
        max_position_embeddings=arguments.context,
        rope_theta=arguments.rope_theta,
        tie_word_embeddings=not arguments.untied,
        bos_token_id=bos_id,
        eos_token_id=eos_id,
    )
    tokens = packed_text(arguments, arguments.tokenizer, world, config)
    held_out = held_out_blocks(arguments, arguments.tokenizer, world, config)
    examples = PackedBlocks(tokens.ids, arguments.block, arguments.seed)
    settings = train_settings(arguments, len(examples), world.size)
    if arguments.start_from is None:
        model = LlamaForCausalLM(config).initialize(torch.Generator().manual_seed(arguments.seed))
    else:
        model = started_from(arguments.start_from, config, arguments.tokenizer)
    model.model.gradient_checkpointing = arguments.gradient_checkpointing

    def export(tensors: dict[str, torch.Tensor], folder: Path) -> None:
        weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
        save_model(weights, config, folder, tokenizer_from=arguments.tokenizer)

    described = describe_arguments(arguments) | {
        "model": config.to_hf(),
        "parameters": model.parameter_count(),
        "data": {**tokens.facts, "blocks": len(examples), "block": arguments.block},
    }
    objective = PlainObjective(model, packed=True)
    trainer = Trainer(objective, examples, settings, world, export, described, held_out)
    if world.is_first:
        print(f"{model.parameter_count()} parameters, {tokens.token_count} tokens of text", flush=True)
    figures = trainer.run(arguments.resume)
    if world.is_first:
        print(f"finished at step {trainer.step}: loss {figures.get('loss', float('nan')):.3f} -> {arguments.out}")
    world.leave()


if __name__ == "__main__":
    run_command(main)
