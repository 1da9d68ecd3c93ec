"""Instruction data and the two prompt formats that tell a decoder where an answer begins."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer

from toast.data import DataError, Example, open_text

PromptFormat = Literal["alpaca", "vicuna"]
ALPACA_HELD_OUT = 1000
TOKENIZED_AT_ONCE = 2000
"""Conversations that go to the tokenizer together: it spreads them over the processor's cores."""

VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


@dataclass(frozen=True)
class Instruction:
    instruction: str
    input: str
    output: str


@dataclass(frozen=True)
class AlpacaSplit:
    train: list[Instruction]
    held_out: list[Instruction]


def read_alpaca(path: Path, held_out: int = ALPACA_HELD_OUT) -> AlpacaSplit:
    """Read an Alpaca list of {instruction, input, output}; hold out the ``held_out`` entries with the smallest hashes.

    Entries without an output teach nothing and are left out. The split depends on the entries alone, and an entry
    that occurs twice is never on both sides.
    """
    with open_text(path) as file:
        try:
            rows = json.load(file)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: not JSON ({error})") from error
    fields = {"instruction", "output"}
    if not isinstance(rows, list) or not all(isinstance(row, dict) and fields <= set(row) for row in rows):
        raise DataError(f"{path}: not a list of objects with 'instruction' and 'output'")
    unique = {
        (row["instruction"], row.get("input") or "", row["output"]): None for row in rows if row["output"].strip()
    }
    if len(unique) <= held_out:
        raise DataError(f"{path}: {len(unique)} entries are too few to hold out {held_out}")

    def digest(entry: tuple[str, str, str]) -> bytes:
        return hashlib.sha256("\0".join(entry).encode("utf-8", "surrogatepass")).digest()

    threshold = sorted(digest(entry) for entry in unique)[held_out - 1] if held_out else b""
    train = [Instruction(*entry) for entry in unique if digest(entry) > threshold]
    kept = [Instruction(*entry) for entry in unique if digest(entry) <= threshold] if held_out else []
    return AlpacaSplit(train, kept)


def read_references(value: str) -> list[Instruction]:
    """Instructions with answers that a model can be measured on, without training on them.

    One file: JSON lines of Self-Instruct's kind ({instruction, instances: [{input, output}]}, the first instance
    counts) or of Alpaca's. Two, joined by a comma: Vicuna's questions and published answers to them.
    Raises DataError.
    """
    paths = [Path(part) for part in value.split(",")]
    rows = [_json_lines(path) for path in paths]
    try:
        if len(rows) == 2:
            answers = {row["question_id"]: row["text"] for row in rows[1]}
            return [Instruction(row["text"], "", answers[row["question_id"]]) for row in rows[0]]
        return [
            Instruction(row["instruction"], instance.get("input") or "", instance["output"])
            for row in rows[0]
            for instance in [row["instances"][0] if "instances" in row else row]
        ]
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{value}: an entry lacks {error}") from error


def _json_lines(path: Path) -> list[dict[str, Any]]:
    with open_text(path) as file:
        try:
            return [json.loads(line) for line in file if line.strip()]
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: not JSON lines ({error})") from error


def format_alpaca(instruction: str, context: str = "") -> str:
    """The Alpaca prompt up to where the response begins."""
    if context:
        return (
            "Below is an instruction that describes a task, paired with an input that provides further context. "
            "Write a response that appropriately completes the request.\n\n"
            f"### Instruction:\n{instruction}\n\n### Input:\n{context}\n\n### Response:\n"
        )
    return (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        f"### Instruction:\n{instruction}\n\n### Response:\n"
    )


_SIDES = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant"}
Turn = tuple[str, str]
"""(question, answer)"""


def read_sharegpt(path: Path, held_out: int = 0) -> tuple[list[list[Turn]], list[list[Turn]]]:
    """Read a ShareGPT list of {conversations: [{from, value}, …]} -> (train, held out) lists of turns.

    A conversation starts at its first human message; consecutive messages of one side are joined, what comes after the
    last answer is dropped.
    """
    with open_text(path) as file:
        try:
            rows = json.load(file)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: not JSON ({error})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "conversations" in row for row in rows):
        raise DataError(f"{path}: not a list of objects with 'conversations'")
    conversations = [turns for row in rows if (turns := _turns(row["conversations"]))]
    if len(conversations) <= held_out:
        raise DataError(f"{path}: {len(conversations)} conversations are too few to hold out {held_out}")
    conversations.sort(key=lambda turns: hashlib.sha256(json.dumps(turns).encode()).digest())
    return conversations[held_out:], conversations[:held_out]


def _turns(messages: list[dict[str, str]]) -> list[Turn]:
    joined: list[tuple[str, str]] = []  # (side, text)
    for message in messages:
        side = _SIDES.get(message.get("from", ""))
        text = (message.get("value") or "").strip()
        if side is None or not text or (not joined and side == "assistant"):
            continue
        if joined and joined[-1][0] == side:
            joined[-1] = (side, f"{joined[-1][1]}\n{text}")
        else:
            joined.append((side, text))
    return [(joined[i][1], joined[i + 1][1]) for i in range(0, len(joined) - 1, 2)]


def format_vicuna(turns: list[Turn], question: str) -> str:
    """The Vicuna v1.1 prompt up to where the answer to ``question`` begins (EOS written as </s>)."""
    past = "".join(f"USER: {asked} ASSISTANT: {answer}</s>" for asked, answer in turns)
    return f"{VICUNA_SYSTEM} {past}USER: {question} ASSISTANT:"


@dataclass(frozen=True)
class SpecialIds:
    bos: int
    eos: int


def alpaca_examples(entries: list[Instruction], tokenizer: Tokenizer, special: SpecialIds) -> list[Example]:
    """BOS + prompt + response + EOS each; the response and its EOS are asked."""
    prompts = [[(format_alpaca(entry.instruction, entry.input), entry.output)] for entry in entries]
    return _answered(prompts, tokenizer, special)


def vicuna_examples(conversations: list[list[Turn]], tokenizer: Tokenizer, special: SpecialIds) -> list[Example]:
    """BOS, then every turn with its EOS; each answer and its EOS are asked."""
    openings = [f"{VICUNA_SYSTEM} ", ""]
    prompts = [
        [
            (f"{openings[min(number, 1)]}USER: {question} ASSISTANT:", f" {answer}")
            for number, (question, answer) in enumerate(turns)
        ]
        for turns in conversations
    ]
    return _answered(prompts, tokenizer, special)


def _answered(dialogues: list[list[Turn]], tokenizer: Tokenizer, special: SpecialIds) -> list[Example]:
    """BOS, then of every (prompt, answer) the ids of both as one text and EOS; what follows the prompt's own ids is
    asked."""
    examples = []
    for start in range(0, len(dialogues), TOKENIZED_AT_ONCE):
        some = dialogues[start : start + TOKENIZED_AT_ONCE]
        turns = [turn for dialogue in some for turn in dialogue]
        texts = [prompt + answer for prompt, answer in turns] + [prompt for prompt, _ in turns]
        encoded = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        pairs = iter(zip(encoded[: len(turns)], encoded[len(turns) :], strict=True))
        for dialogue in some:
            ids, asked = [special.bos], [False]
            for whole, alone in islice(pairs, len(dialogue)):
                shared = 0  # a tokenizer may merge across the border; then the merged token is the answer's
                while shared < min(len(alone), len(whole)) and alone[shared] == whole[shared]:
                    shared += 1
                ids += [*whole, special.eos]
                asked += [False] * shared + [True] * (len(whole) - shared + 1)
            examples.append(Example(ids, asked))
    return examples


@dataclass(frozen=True)
class InstructionData:
    """Tokenized instruction examples of both sides of the split, and the format they are in."""

    train: list[Example]
    held_out: list[Example]
    prompt_format: PromptFormat


def read_instructions(
    path: Path,
    prompt_format: PromptFormat,
    tokenizer: Tokenizer,
    special: SpecialIds,
    held_out: int,
    max_length: int,
    *,
    only_held_out: bool = False,
) -> InstructionData:
    """Read an Alpaca or ShareGPT file and tokenize it; what is longer than ``max_length`` tokens is cut there.

    An example whose cut leaves nothing to ask for is dropped. ``only_held_out`` leaves the side to train on empty, for
    a measurement that should not wait for it.
    """
    if prompt_format == "alpaca":
        split = read_alpaca(path, held_out)
        train = alpaca_examples([] if only_held_out else split.train, tokenizer, special)
        kept = alpaca_examples(split.held_out, tokenizer, special)
    else:
        train_turns, kept_turns = read_sharegpt(path, held_out)
        train = vicuna_examples([] if only_held_out else train_turns, tokenizer, special)
        kept = vicuna_examples(kept_turns, tokenizer, special)
    return InstructionData(_cut(train, max_length), _cut(kept, max_length), prompt_format)


def reference_examples(value: str, tokenizer: Tokenizer, special: SpecialIds, max_length: int) -> list[Example]:
    """``read_references`` in the Alpaca format, cut at ``max_length`` tokens."""
    return _cut(alpaca_examples(read_references(value), tokenizer, special), max_length)


def _cut(examples: list[Example], max_length: int) -> list[Example]:
    cut = [Example(example.ids[:max_length], example.asked[:max_length]) for example in examples]
    return [example for example in cut if any(example.asked)]
