"""Pre-tune a TOAST adapter on general text: the feedback path learns to rebuild what the frozen backbone computes."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from toast.adapter_file import AdapterFacts, save_adapter
from toast.carries import solve_carries
from toast.checkpoint import load_model
from toast.data import PackedBlocks
from toast.hashing import backbone_hash
from toast.parallel import World
from toast.settings import (
    add_fresh_adapter_arguments,
    add_steering_arguments,
    add_text_arguments,
    add_training_arguments,
    command,
    describe_arguments,
    fresh_adapter,
    held_out_blocks,
    packed_text,
    presented,
    run_command,
    train_settings,
)
from toast.steering import SteeredModel, SteeredObjective, SteeringAdapter, align, wake
from toast.trainer import Trainer, limit_threads, newest_checkpoint

DESCRIPTION = """\
Pre-tune a fresh TOAST adapter for a frozen backbone on general text. Every feedback map and the task embedding learn,
from the steered pass's next-token loss plus the reconstruction loss; the channel transform stays the identity.

Before training, the mean relevance on real text is checked; a dead adapter's task embedding is flipped. loss.jsonl
reports mean relevance and the share of tokens with a positive one all along.

Writes OUT/adapter.safetensors and OUT/adapter.json (stage "pretuned").

example:
  python pretune_adapter.py --model runs/base --text data/openwebtext.jsonl.xz --epochs 1 --out runs/pretuned
"""


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", type=Path, required=True, help="folder of the backbone")
    add_text_arguments(parser)
    parser.add_argument("--solve-blocks", type=int, default=64, help="blocks of text for --carry-start solved")
    add_fresh_adapter_arguments(parser)
    add_steering_arguments(parser)
    add_training_arguments(parser, learning_rate=3e-5, batch_size=3, accumulate=12)
    arguments = parser.parse_args()

    limit_threads()
    world = World.join()
    backbone = load_model(arguments.model, getattr(torch, arguments.backbone_dtype))
    config = backbone.config
    sha256 = backbone_hash(arguments.model)
    tokens = packed_text(arguments, arguments.model, world, config)
    held_out = held_out_blocks(arguments, arguments.model, world, config)
    examples = PackedBlocks(tokens.ids, arguments.block, arguments.seed)
    settings = train_settings(arguments, len(examples), world.size)
    backbone.model.gradient_checkpointing = arguments.gradient_checkpointing
    adapter = fresh_adapter(arguments, config)
    model = SteeredModel(backbone, adapter)
    if arguments.task_embedding_start == "aligned":
        align(model, [examples.batch(0, 2)])
    report = wake(model, [examples.batch(0, 2)])
    rebuilt = None
    if arguments.carry_start == "solved" and not resumes(arguments):
        rebuilt = solve_carries(model, [examples.batch(step, 4) for step in range(-(-arguments.solve_blocks // 4))])
    adapter.train_for_pretuning()
    if world.is_first:
        state = "was dead and has been flipped" if report.flipped else "is alive"
        print(
            f"the task embedding {state}: mean relevance {report.mean_relevance:.4f}, "
            f"{report.active_share:.0%} of tokens relevant"
            + ("" if rebuilt is None else f"; carry maps solved: reconstruction {rebuilt:.4f}"),
            flush=True,
        )
    facts = AdapterFacts(sha256, "pretuned", **presented(arguments))

    def export(tensors: dict[str, torch.Tensor], folder: Path) -> None:
        finished = SteeringAdapter(config.hidden_size, config.num_hidden_layers)
        finished.selection, finished.features = adapter.selection, adapter.features
        finished.load_state_dict({n.removeprefix("model.adapter."): t for n, t in tensors.items()}, strict=False)
        save_adapter(finished, folder / "adapter.safetensors", facts)

    described = describe_arguments(arguments) | {
        "backbone_sha256": sha256,
        "wake": vars(report),
        "solved_reconstruction": rebuilt,
        "data": {**tokens.facts, "blocks": len(examples), "block": arguments.block},
    }
    objective = SteeredObjective(model, reconstruct=True)
    trainer = Trainer(objective, examples, settings, world, export, described, held_out)
    figures = trainer.run(arguments.resume)
    if world.is_first:
        print(
            f"finished at step {trainer.step}: loss {figures['loss']:.3f}, reconstruction "
            f"{figures['reconstruction']:.4f}, mean relevance {figures['relevance']:.3f} -> {arguments.out}"
        )
    world.leave()


def resumes(arguments: argparse.Namespace) -> bool:
    """Whether a checkpoint will replace what the maps start as."""
    return arguments.resume and newest_checkpoint(Path(arguments.out)) is not None


if __name__ == "__main__":
    run_command(main)
