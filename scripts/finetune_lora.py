"""Fine-tune low-rank additions to a model on instructions and merge them: the second rival of a TOAST adapter."""

from __future__ import annotations

from pathlib import Path

import torch

from toast.checkpoint import load_model, read_tensors, save_model
from toast.data import Responses
from toast.hashing import backbone_hash
from toast.lora import add_lora, merge_lora
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
Train LoRA factors on Alpaca or ShareGPT data (loss on the responses only), merge them into the weights and write a
Hugging Face folder like any other. Same data, split and trainer as tune_adapter.py.

example:
  python finetune_lora.py --model runs/base --data data/alpaca_data.json --epochs 2 --rank 8 --out runs/lora
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    add_instruction_arguments(parser)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=16.0, help="factors count alpha/rank")
    parser.add_argument(
        "--targets",
        nargs="+",
        default=["q_proj", "v_proj"],
        help="linear layers to add to: q_proj k_proj v_proj o_proj gate_proj up_proj down_proj",
    )
    add_training_arguments(parser, learning_rate=2e-4, batch_size=4, accumulate=8)
    arguments = parser.parse_args()

    limit_threads()
    torch.manual_seed(arguments.seed)  # fresh factors
    world = World.join()
    model = load_model(arguments.model)
    config = model.config
    add_lora(model, arguments.targets, arguments.rank, arguments.alpha)
    data = instruction_data(arguments, arguments.model, config)
    examples = Responses(data.train, special_ids(config).eos, arguments.seed)
    settings = train_settings(arguments, len(examples), world.size)
    model.model.gradient_checkpointing = arguments.gradient_checkpointing

    def export(tensors: dict[str, torch.Tensor], folder: Path) -> None:
        factors = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
        base = {name: tensor.float() for name, tensor in read_tensors(arguments.model)}
        merged = merge_lora(base, factors, arguments.rank, arguments.alpha)
        save_model(merged, config, folder, tokenizer_from=arguments.model)

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
