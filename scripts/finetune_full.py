"""Fine-tune every weight of a model on instructions: the rival that a TOAST adapter is compared with."""

from __future__ import annotations

from pathlib import Path

import torch

from toast.checkpoint import load_model, save_model
from toast.data import Responses
from toast.hashing import backbone_hash
from toast.objectives import PlainObjective
from toast.parallel import World
from toast.settings import (
    add_instruction_arguments,
    add_training_arguments,
    command,
    describe_arguments,
    held_out_responses,
    instruction_data,
    may_share_prefix,
    run_command,
    special_ids,
    train_settings,
)
from toast.trainer import Trainer, limit_threads

DESCRIPTION = """\
Fine-tune every weight of a model on Alpaca or ShareGPT data (loss on the responses only) and write the result as a
Hugging Face folder. Same data, split and trainer as tune_adapter.py, so the two can be compared.

example:
  python finetune_full.py --model runs/base --data data/alpaca_data.json --epochs 2 --out runs/full
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    add_instruction_arguments(parser)
    add_training_arguments(parser, learning_rate=2e-5, batch_size=4, accumulate=8)
    arguments = parser.parse_args()

    limit_threads()
    world = World.join()
    model = load_model(arguments.model)
    config = model.config
    data = instruction_data(arguments, arguments.model, config)
    examples = Responses(data.train, special_ids(config).eos, arguments.seed)
    settings = train_settings(arguments, len(examples), world.size)
    model.model.gradient_checkpointing = arguments.gradient_checkpointing

    def export(tensors: dict[str, torch.Tensor], folder: Path) -> None:
        weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
        save_model(weights, config, folder, tokenizer_from=arguments.model)

    described = describe_arguments(arguments) | {
        "base_sha256": backbone_hash(arguments.model),
        "prompt_format": data.prompt_format,
        "data": {"train": len(data.train), "held_out": len(data.held_out)},
    }
    objective = PlainObjective(model, packed=False, share_prefix=may_share_prefix(arguments, world))
    held_out = held_out_responses(arguments, data, special_ids(config))
    trainer = Trainer(objective, examples, settings, world, export, described, held_out)
    figures = trainer.run(arguments.resume)
    if world.is_first:
        print(f"finished at step {trainer.step}: response loss {figures['loss']:.3f} -> {arguments.out}")
    world.leave()


if __name__ == "__main__":
    run_command(main)
