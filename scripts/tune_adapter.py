"""Tune a TOAST adapter on instructions, full or Lite; the backbone stays frozen."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from toast.adapter_file import AdapterFacts, load_adapter_for, save_adapter
from toast.checkpoint import load_model
from toast.data import Responses
from toast.feature_cache import CachedResponses
from toast.hashing import backbone_hash
from toast.llama import LlamaForCausalLM
from toast.parallel import World
from toast.settings import (
    add_fresh_adapter_arguments,
    add_instruction_arguments,
    add_steering_arguments,
    add_training_arguments,
    command,
    describe_arguments,
    fresh_adapter,
    held_out_responses,
    instruction_data,
    may_share_prefix,
    presented,
    run_command,
    special_ids,
    train_settings,
)
from toast.steering import SteeredModel, SteeredObjective, SteeringAdapter, align, wake
from toast.trainer import Trainer, TrainingError, limit_threads

DESCRIPTION = """\
Tune a pre-tuned TOAST adapter (or a fresh one, without --adapter) on Alpaca or ShareGPT data. The loss is on the
responses only. A full adapter trains its emit maps and the task embedding; with --lite every feedback map is frozen
and gets low-rank factors, and those and the task embedding train.

Writes OUT/adapter.safetensors and OUT/adapter.json (stage "tuned").

example:
  python tune_adapter.py --model runs/base --adapter runs/pretuned/adapter.safetensors \\
      --data data/alpaca_data.json --epochs 2 --out runs/tuned
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, help="folder of the backbone")
    parser.add_argument("--adapter", type=Path, help="the adapter to start from (.safetensors); without it a fresh one")
    add_instruction_arguments(parser)
    parser.add_argument("--lite", action="store_true", help="TOAST-Lite: train low-rank factors instead of emit maps")
    parser.add_argument("--rank", type=int, default=4, help="rank of the factors, with --lite")
    parser.add_argument("--alpha", type=float, default=1.0, help="factors count alpha/rank, with --lite")
    parser.add_argument(
        "--train",
        choices=("emit", "all"),
        default="emit",
        help="feedback maps of a full adapter that learn: the emit maps, as published, or the carry maps too",
    )
    add_fresh_adapter_arguments(parser)
    add_steering_arguments(parser)
    add_training_arguments(parser, learning_rate=2e-5, batch_size=4, accumulate=8)
    arguments = parser.parse_args()

    if arguments.adapter is None and arguments.carry_start == "solved":
        parser.error("--carry-start solved takes general text: use pretune_adapter.py, then --adapter")

    limit_threads()
    torch.manual_seed(arguments.seed)  # fresh factors
    world = World.join()
    backbone = load_model(arguments.model, getattr(torch, arguments.backbone_dtype))
    config = backbone.config
    sha256 = backbone_hash(arguments.model)

    def starting_adapter() -> SteeringAdapter:
        start = (
            load_adapter_for(arguments.adapter, sha256)[0] if arguments.adapter else fresh_adapter(arguments, config)
        )
        if arguments.lite:
            start.add_low_rank(arguments.rank, arguments.alpha)
        return start

    adapter = starting_adapter()
    data = instruction_data(arguments, arguments.model, config)
    special = special_ids(config)
    examples = Responses(data.train, special.eos, arguments.seed)
    settings = train_settings(arguments, len(examples), world.size)
    backbone.model.gradient_checkpointing = arguments.gradient_checkpointing
    model = SteeredModel(backbone, adapter)
    if arguments.adapter is None and arguments.task_embedding_start == "aligned":
        align(model, [examples.batch(0, 8)])
    report = wake(model, [examples.batch(0, 8)])
    adapter.train_for_tuning(arguments.train)
    if world.is_first:
        print(
            f"{len(data.train)} examples; mean relevance of responses {report.mean_relevance:.4f}"
            f"{', task embedding flipped' if report.flipped else ''}",
            flush=True,
        )
    # What does not train is not in a checkpoint; the export puts both together again.
    start = {name: tensor.detach().clone() for name, tensor in adapter.state_dict().items()}
    facts = AdapterFacts(sha256, "tuned", data.prompt_format, **presented(arguments))

    def export(tensors: dict[str, torch.Tensor], folder: Path) -> None:
        finished = starting_adapter()
        finished.load_state_dict(start | {n.removeprefix("model.adapter."): t for n, t in tensors.items()})
        save_adapter(finished, folder / "adapter.safetensors", facts)

    described = describe_arguments(arguments) | {
        "backbone_sha256": sha256,
        "wake": vars(report),
        "kind": adapter.kind,
        "data": {"train": len(data.train), "held_out": len(data.held_out)},
    }
    objective = SteeredObjective(model, reconstruct=False, share_prefix=may_share_prefix(arguments, world))
    held_out = held_out_responses(arguments, data, special)
    fed = examples if arguments.cache_features is None else cached(arguments, examples, backbone, sha256, world)
    trainer = Trainer(objective, fed, settings, world, export, described, held_out)
    figures = trainer.run(arguments.resume)
    if isinstance(fed, CachedResponses):
        fed.cache.flush()
    if world.is_first:
        print(
            f"finished at step {trainer.step}: response loss {figures['loss']:.3f}, "
            f"mean relevance {figures['relevance']:.3f} -> {arguments.out}"
        )
    world.leave()


def cached(
    arguments: argparse.Namespace, examples: Responses, backbone: LlamaForCausalLM, sha256: str, world: World
) -> CachedResponses:
    """The examples with their first pass kept on disk. Raises TrainingError where that cannot be."""
    if world.size > 1:
        raise TrainingError("--cache-features works on one process; leave it out with torchrun")
    if arguments.precision == "auto":
        raise TrainingError("--cache-features needs --precision fp32 or bf16: what is kept depends on it")
    backbone.to(world.device)
    precision = f"{arguments.backbone_dtype}-{arguments.precision}"
    return CachedResponses(examples, backbone, sha256, precision, arguments.cache_features)


if __name__ == "__main__":
    run_command(main)
