"""Work out what training an adapter takes, before renting a machine for it."""

from __future__ import annotations

from pathlib import Path

from toast.budget import memory_bytes, operations_per_token, parameters, traffic_bytes
from toast.checkpoint import load_config
from toast.llama import LlamaConfig
from toast.settings import command, run_command

DESCRIPTION = """\
Work out the memory and the time that pre-tuning and tuning a TOAST adapter take on one GPU, from the shape of the
backbone: a model folder, a .gguf file or one of the shapes below. Operations are those that PyTorch counts in a
training step (a test holds them against each other); memory is what a step holds at its worst, without the allocator's
waste. With --processes, what each of so many GPUs holds when the weights are sharded (torchrun), and what the network
between machines has to carry for each step of --step-tokens.

shapes: 1b, 3b, 7b, 8b (Llama 3.2 1B and 3B, Llama 2 7B, Llama 3.1 8B)

example:
  python plan_training.py --model 8b --teraflops 312 --share 0.4 --pretuning-tokens 20e6 --tuning-tokens 11e6
  python plan_training.py --model 7b --processes 4 --gigabits 100 --step-tokens 8192
"""

SHAPES = {
    "1b": LlamaConfig(128256, 2048, 8192, 16, 32, 8, 64, tie_word_embeddings=True),
    "3b": LlamaConfig(128256, 3072, 8192, 28, 24, 8, 128, tie_word_embeddings=True),
    "7b": LlamaConfig(32000, 4096, 11008, 32, 32, 32, 128),
    "8b": LlamaConfig(128256, 4096, 14336, 32, 32, 8, 128),
}


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--model", required=True, help="folder, .gguf file, or a shape: " + ", ".join(SHAPES))
    parser.add_argument("--teraflops", type=float, default=312, help="what the GPU's maker promises in dense bf16")
    parser.add_argument("--share", type=float, default=0.4, help="share of it that training reaches")
    parser.add_argument("--pretuning-tokens", type=float, default=20e6, help="tokens of general text")
    parser.add_argument("--tuning-tokens", type=float, default=11e6, help="tokens of instructions, epochs counted")
    parser.add_argument("--step-tokens", type=int, default=2048, help="tokens that go through at once")
    parser.add_argument("--processes", type=int, default=1, help="GPUs, on one machine or several")
    parser.add_argument("--gigabits", type=float, default=100, help="what the network between them carries a second")
    parser.add_argument("--asked", type=float, default=0.5, help="share of instruction tokens that are answers")
    arguments = parser.parse_args()
    config = SHAPES[arguments.model] if arguments.model in SHAPES else load_config(Path(arguments.model))
    counted = parameters(config)
    print(
        f"{(counted.layers + counted.head + counted.embedding) / 1e9:.2f} billion parameters in the backbone, "
        f"{2 * counted.maps / 1e6:.0f} million in the adapter"
    )
    for stage, tokens, asked in (
        ("pretuning", arguments.pretuning_tokens, 1.0),
        ("tuning", arguments.tuning_tokens, arguments.asked),
    ):
        memory = memory_bytes(config, stage, tokens=arguments.step_tokens, asked=asked, processes=arguments.processes)
        operations = operations_per_token(config, stage, asked=asked, checkpointing=True)
        speed = arguments.teraflops * 1e12 * arguments.share
        hours = operations * tokens / speed / 3600 / arguments.processes
        parts = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in memory.items() if size > 0)
        print(
            f"{stage}: {sum(memory.values()) / 1e9:.1f} GB ({parts}); {operations / 1e9:.1f} gigaflops a token, "
            f"{tokens / 1e6:g} million tokens: {hours:.1f} hours"
        )
        if arguments.processes > 1:
            computed = operations * arguments.step_tokens / speed
            traffic = traffic_bytes(config, stage, processes=arguments.processes)
            print(
                f"  a step of {arguments.step_tokens} tokens on each: {computed:.2f} s computed, "
                f"{traffic / 1e9:.1f} GB received, {traffic * 8e-9 / arguments.gigabits:.2f} s where that crosses the "
                f"network of {arguments.gigabits:g} gigabits"
            )


if __name__ == "__main__":
    run_command(main)
