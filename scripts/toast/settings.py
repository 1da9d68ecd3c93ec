"""Command-line arguments that several commands share, and how they become settings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from toast.adapter_file import PRESENTATION
from toast.chat_template import TemplateError, load_chat_template
from toast.data import Batch, DataError, Split, TextSource, TokenFile, tokenize
from toast.evaluation import half_of, response_batches, text_batches
from toast.files import BadFolder
from toast.llama import LlamaConfig, UnsupportedModel
from toast.parallel import World
from toast.prompts import ALPACA_HELD_OUT, ChatFormat, InstructionData, SpecialIds, read_instructions, read_opening
from toast.steering import SteeringAdapter
from toast.tokenizer import load_tokenizer
from toast.trainer import TrainingError, TrainSettings

USER_ERRORS = (BadFolder, DataError, TemplateError, TrainingError, UnsupportedModel, FileNotFoundError)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps a description's paragraphs and names every default."""


def command(description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=description, formatter_class=HelpFormatter)


def run_command(main: Any) -> None:
    """Run a command; an error of the user's becomes one line on stderr and exit status 2."""
    try:
        main()
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def add_text_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--text",
        action="append",
        required=True,
        metavar="PATH[:MAX_MB[:REPEAT]]",
        help="text to train on: a .jsonl/.json (field 'text'), .txt or .parquet (column 'text') file, plain or "
        "compressed (.xz .gz .bz2 .zst), a folder, a glob pattern, or a dataset name of the Hugging Face hub; "
        "MAX_MB takes a fixed random sample of that many megabytes, REPEAT shows it that often; may be given again",
    )
    parser.add_argument("--held-out-percent", type=float, default=2.0, help="share of documents never trained on")
    parser.add_argument("--cache", default=".cache/tokens", help="folder for tokenized text, made once and reused")
    parser.add_argument("--block", type=int, default=512, help="tokens per training block")


def text_sources(arguments: argparse.Namespace) -> list[TextSource]:
    return [TextSource.parse(value) for value in arguments.text]


def add_instruction_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="instruction data, .json, plain or compressed")
    parser.add_argument(
        "--format",
        choices=("alpaca", "vicuna", "chat"),
        default="alpaca",
        help="how prompts are written. alpaca: for a list of {instruction, input, output}; vicuna: for a ShareGPT list "
        "of {conversations}; chat: in the model's own chat template, for either list",
    )
    parser.add_argument("--held-out", type=int, default=ALPACA_HELD_OUT, help="examples never trained on")
    parser.add_argument("--max-length", type=int, default=1024, help="longest example in tokens; longer ones are cut")
    parser.add_argument("--examples", type=int, help="train on the first so many examples only")


def chat_format(arguments: argparse.Namespace, folder: Path) -> ChatFormat | None:
    """The template of ``folder`` where --format chat asks for it, with --opening where a command has that."""
    opening = getattr(arguments, "opening", None)
    if arguments.format != "chat":
        if opening is not None:
            raise DataError("--opening needs --format chat: the other formats have no place for messages before")
        return None
    return ChatFormat(load_chat_template(folder), () if opening is None else read_opening(opening))


def instruction_data(
    arguments: argparse.Namespace, folder: Path, config: LlamaConfig, *, only_held_out: bool = False
) -> InstructionData:
    """Read --data, or only what of it is held out, with the tokenizer of ``folder``."""
    tokenizer = load_tokenizer(folder)
    special = special_ids(config)
    length = min(arguments.max_length, config.max_position_embeddings)
    return read_instructions(
        arguments.data,
        arguments.format,
        tokenizer,
        special,
        arguments.held_out,
        length,
        chat=chat_format(arguments, folder),
        most=0 if only_held_out else arguments.examples,
    )


def special_ids(config: LlamaConfig) -> SpecialIds:
    if config.bos_token_id is None or config.eos_token_id is None:
        raise BadFolder("config.json must name bos_token_id and eos_token_id")
    return SpecialIds(config.bos_token_id, config.eos_token_id)


END_OF_DOCUMENT = "<|endoftext|>"


def document_ids(tokenizer: Tokenizer, config: LlamaConfig) -> tuple[int | None, int]:
    """What packed text puts before (None: nothing) and after each document: BOS and EOS, as a rule.

    The BOS and EOS of a chat model may begin and end turns of a conversation. Where the tokenizer has <|endoftext|>,
    that is what its base has seen after documents.
    """
    ended = tokenizer.token_to_id(END_OF_DOCUMENT)
    if ended is not None:
        return None, ended
    special = special_ids(config)
    return special.bos, special.eos


def packed_text(
    arguments: argparse.Namespace, folder: Path, world: World, config: LlamaConfig, split: Split = "train"
) -> TokenFile:
    """Tokenize one side of --text; the first process does it, the others find its file."""
    tokenizer = load_tokenizer(folder)
    if not world.is_first:
        world.wait()
    tokens = tokenize(
        text_sources(arguments),
        split,
        arguments.held_out_percent,
        tokenizer,
        *document_ids(tokenizer, config),
        Path(arguments.cache),
    )
    if world.is_first:
        world.wait()
    return tokens


def held_out_blocks(arguments: argparse.Namespace, folder: Path, world: World, config: LlamaConfig) -> list[Batch]:
    """The first --evaluate-examples blocks of --text's held-out side; none where there are none or none are wanted."""
    if not arguments.evaluate_steps:
        return []
    try:
        tokens = packed_text(arguments, folder, world, config, "held_out")
    except DataError:  # the training side was there, so it is only that no document is held out
        return []
    if tokens.token_count <= arguments.block:
        return []
    return list(text_batches(tokens, arguments.block, arguments.batch_size, arguments.evaluate_examples))


def may_share_prefix(arguments: argparse.Namespace, world: World) -> bool:
    """Whether what a batch's rows begin with can be computed once: neither recomputed nor gathered piece by piece."""
    return world.size == 1 and not arguments.gradient_checkpointing


def held_out_responses(arguments: argparse.Namespace, data: InstructionData, special: SpecialIds) -> list[Batch]:
    """--evaluate-examples of the held-out half that settings are chosen on, none where nothing is to be measured."""
    if not arguments.evaluate_steps:
        return []
    chosen = half_of(data.held_out, "choosing")[: arguments.evaluate_examples]
    return response_batches(chosen, special.eos, arguments.batch_size).batches if chosen else []


def add_training_arguments(
    parser: argparse.ArgumentParser, *, learning_rate: float, batch_size: int, accumulate: int, warmup: float = 0.03
) -> None:
    parser.add_argument("--out", required=True, help="folder for the result, settings.json, loss.jsonl, checkpoints")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="length of the run in optimizer steps")
    length.add_argument("--epochs", type=float, help="length of the run in passes over the data")
    length.add_argument("--minutes", type=float, help="length of the run in minutes of training (the schedule follows)")
    parser.add_argument("--batch-size", type=int, default=batch_size, help="examples per forward and process")
    parser.add_argument("--accumulate", type=int, default=accumulate, help="forwards per optimizer step")
    parser.add_argument("--learning-rate", type=float, default=learning_rate, help="peak; a cosine follows warm-up")
    parser.add_argument(
        "--decay",
        type=float,
        help="share of the run, at its end, over which the learning rate falls straight to --floor, level at the peak "
        "before; without it a cosine. A level run can be resumed with more --steps",
    )
    parser.add_argument("--floor", type=float, default=0.05, help="last learning rate as a share of the peak")
    parser.add_argument("--warmup", type=float, default=warmup, help="share of the run for linear warm-up")
    parser.add_argument("--weight-decay", type=float, default=0.0, help="on matrices only")
    parser.add_argument("--clip", type=float, default=1.0, help="largest gradient norm")
    parser.add_argument(
        "--optimizer", choices=("adamw", "muon"), default="adamw", help="muon: for the layers' matrices, one process"
    )
    parser.add_argument("--seed", type=int, default=1, help="order of the data and fresh weights")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="auto: bf16 where the GPU has it, or the CPU has it and it measures faster here",
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile (needs a C++ compiler on a CPU)")
    parser.add_argument(
        "--gradient-checkpointing", action="store_true", help="keep less of the forward pass, recompute it backward"
    )
    parser.add_argument("--checkpoint-minutes", type=float, default=5.0, help="time between checkpoints")
    parser.add_argument(
        "--evaluate-steps",
        type=int,
        default=100,
        help="measure the loss on held-out examples every so many steps; what did best is kept in OUT/best. 0: never",
    )
    parser.add_argument("--evaluate-examples", type=int, default=128, help="held-out examples (or blocks) for that")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --out, if any")


def add_steering_arguments(parser: argparse.ArgumentParser) -> None:
    """What both stages of an adapter's training share."""
    parser.add_argument(
        "--task-embedding-rate",
        type=float,
        default=1.0,
        help="learning rate of the task embedding as a multiple of the maps'; it is drawn at size 1 and they at about "
        "0.02, so a short run wants more than 1",
    )
    parser.add_argument(
        "--carry-rate",
        type=float,
        default=1.0,
        help="learning rate of the carry maps as a multiple of the emit maps'. A feature goes through as many carry "
        "maps as there are layers, so a small change of all of them is a large one of their product",
    )
    parser.add_argument(
        "--backbone-dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="how the frozen weights are held; bfloat16 halves their memory",
    )
    parser.add_argument(
        "--cache-features",
        type=Path,
        metavar="FOLDER",
        help="keep the first pass of every example on disk and read it when the example comes again: for several "
        "epochs, seeds, learning rates or adapters on the same data. One process, and --precision must be said",
    )
    parser.add_argument("--licence", help="licence of the adapter, written into its JSON")
    parser.add_argument("--description", help="a sentence on what the adapter does, for whoever chooses among several")
    parser.add_argument("--example-prompt", help="a prompt that shows what the adapter does")
    parser.add_argument("--recommended-strength", type=float, help="strength at which it is at its best, up to 4")


def presented(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the adapter's JSON says to people, by the names of AdapterFacts."""
    return {name: getattr(arguments, name) for name in ("licence", *PRESENTATION)}


def add_fresh_adapter_arguments(parser: argparse.ArgumentParser) -> None:
    """How an adapter that starts from nothing starts."""
    parser.add_argument(
        "--initializer-range",
        type=float,
        help="standard deviation of fresh feedback maps (default: the model's own). A map's gain is √D times this: "
        "about 1.3 for 4096 channels and the usual 0.02, but 0.3 for 256, where a larger value helps",
    )
    parser.add_argument(
        "--features",
        choices=("raw", "unit_rms"),
        default="raw",
        help="raw: features as large as the backbone's outputs, as published; unit_rms: each token's brought to a root "
        "mean square of 1 before the selection, for a backbone whose outputs have channels far larger than the others",
    )
    parser.add_argument(
        "--emit-start",
        choices=("random", "zero"),
        default="random",
        help="fresh emit maps: N(0, --initializer-range), as published; zero: the steered pass starts as the backbone",
    )
    parser.add_argument(
        "--carry-start",
        choices=("random", "identity", "solved"),
        default="random",
        help="fresh carry maps: N(0, --initializer-range), as published; identity: the feedback path starts by passing "
        "on what was selected; solved: the least-squares solution of the reconstruction loss (pre-tuning only)",
    )
    parser.add_argument(
        "--task-embedding-start",
        choices=("random", "aligned"),
        default="random",
        help="random: N(0, 1), as published; aligned: of that length, along the mean of the backbone's outputs, which "
        "keeps a small backbone's adapter from going dead while it learns",
    )
    parser.add_argument(
        "--selection",
        choices=("cosine", "none"),
        default="cosine",
        help="none: every token counts as fully relevant; to measure what feature selection is worth, not to be served",
    )


def fresh_adapter(arguments: argparse.Namespace, config: LlamaConfig) -> SteeringAdapter:
    """An adapter with random feedback maps and task embedding; its alignment needs the backbone: toast.steering."""
    adapter = SteeringAdapter(config.hidden_size, config.num_hidden_layers)
    adapter.selection, adapter.features = arguments.selection, arguments.features
    spread = config.initializer_range if arguments.initializer_range is None else arguments.initializer_range
    generator = torch.Generator().manual_seed(arguments.seed)
    carry = "identity" if arguments.carry_start == "solved" else arguments.carry_start
    return adapter.initialize(spread, generator, carry=carry, emit=arguments.emit_start)


def train_settings(arguments: argparse.Namespace, example_count: int, world_size: int) -> TrainSettings:
    """Resolve the arguments; ``--epochs`` becomes steps."""
    steps = arguments.steps
    if arguments.epochs is not None:
        per_step = arguments.batch_size * arguments.accumulate * world_size
        steps = max(1, round(arguments.epochs * example_count / per_step))
    for name in ("batch_size", "accumulate"):
        if getattr(arguments, name) < 1:
            raise TrainingError(f"--{name.replace('_', '-')} must be at least 1")
    return TrainSettings(
        out=arguments.out,
        steps=steps,
        minutes=arguments.minutes,
        batch_size=arguments.batch_size,
        accumulate=arguments.accumulate,
        learning_rate=arguments.learning_rate,
        floor=arguments.floor,
        warmup=arguments.warmup,
        decay=arguments.decay,
        weight_decay=arguments.weight_decay,
        clip=arguments.clip,
        optimizer=arguments.optimizer,
        seed=arguments.seed,
        precision=arguments.precision,
        compile=arguments.compile,
        checkpoint_minutes=arguments.checkpoint_minutes,
        evaluate_steps=arguments.evaluate_steps or None,
        vector_rate=getattr(arguments, "task_embedding_rate", 1.0),
        carry_rate=getattr(arguments, "carry_rate", 1.0),
    )


def describe_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """The command line as given, for settings.json."""
    values = {key: str(value) if isinstance(value, Path) else value for key, value in vars(arguments).items()}
    return {"command": Path(sys.argv[0]).name, "arguments": values}
