"""Instruction data and the prompt formats that tell a decoder where an answer begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer

from toast.chat_template import ChatTemplate, Message
from toast.data import DataError, Example, open_text

PromptFormat = Literal["alpaca", "vicuna", "chat"]
"""Two published formats, and "chat": the model's own template."""

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


def is_sharegpt(path: Path) -> bool:
    """Whether a file of instruction data is a ShareGPT list; Alpaca's otherwise. Raises DataError."""
    rows = _json_list(path)
    return bool(rows) and isinstance(rows[0], dict) and "conversations" in rows[0]


def _json_list(path: Path) -> list[Any]:
    with open_text(path) as file:
        try:
            rows = json.load(file)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: not JSON ({error})") from error
    return rows if isinstance(rows, list) else []


def read_alpaca(path: Path, held_out: int = ALPACA_HELD_OUT) -> AlpacaSplit:
    """Read an Alpaca list of {instruction, input, output}; hold out the ``held_out`` entries with the smallest hashes.

    Entries without an output teach nothing and are left out. The split depends on the entries alone, and an entry
    that occurs twice is never on both sides.
    """
    rows = _json_list(path)
    fields = {"instruction", "output"}
    if not rows or not all(isinstance(row, dict) and fields <= set(row) for row in rows):
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
    rows = _json_list(path)
    if not rows or not all(isinstance(row, dict) and "conversations" in row for row in rows):
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


def as_dialogue(entry: Instruction) -> list[Turn]:
    """An instruction and its input as one message, with its answer."""
    asked = f"{entry.instruction}\n\n{entry.input}" if entry.input else entry.instruction
    return [(asked, entry.output)]


def chat_examples(
    dialogues: list[list[Turn]],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    special: SpecialIds,
    opening: Sequence[Message] = (),
) -> list[Example]:
    """Conversations in the model's own template; of each answer its text and the token that ends the turn are asked.

    ``opening``: messages before every conversation (a system text, examples to follow), of which nothing is asked.

    That token is the first special one which the template writes after the answer, or EOS where it writes none. What
    the template writes after it (a line break, mostly) is the next turn's. Raises DataError for a template that does
    not keep what it has written when a turn is added.
    """
    enders = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    eos = tokenizer.id_to_token(special.eos)
    examples = []
    for start in range(0, len(dialogues), TOKENIZED_AT_ONCE):
        batch = dialogues[start : start + TOKENIZED_AT_ONCE]
        some = [_chat_parts(dialogue, template, enders, eos, opening) for dialogue in batch]
        grown = ["".join(part for part, _ in parts[: end + 1]) for parts in some for end in range(len(parts))]
        encoded = iter([encoding.ids for encoding in tokenizer.encode_batch_fast(grown, add_special_tokens=False)])
        for parts in some:
            ids: list[int] = []
            asked: list[bool] = []
            for part, is_answer in parts:
                whole = next(encoded)
                if whole[: len(ids)] != ids:  # merged across the border, where a served prompt ends
                    whole = ids + tokenizer.encode(part, add_special_tokens=False).ids
                asked += [is_answer] * (len(whole) - len(ids))
                ids = whole
            examples.append(Example(ids, asked))
    return examples


def _chat_parts(
    dialogue: list[Turn], template: ChatTemplate, enders: set[str], eos: str, opening: Sequence[Message]
) -> list[tuple[str, bool]]:
    """A conversation as text in turns: (what leads to an answer, False), (the answer up to its end, True), …"""
    messages = [*opening]
    parts: list[tuple[str, bool]] = []
    written = ""
    for question, answer in dialogue:
        messages.append({"role": "user", "content": question})
        prompt = template.render(messages, add_generation_prompt=True)
        messages.append({"role": "assistant", "content": answer})
        whole = template.render(messages, add_generation_prompt=False)
        if not prompt.startswith(written) or not whole.startswith(prompt):
            raise DataError(
                "the model's chat template writes a conversation anew when a turn is added (a part of it is dropped or "
                "changed), so it cannot be trained on turn by turn; use --format alpaca or vicuna"
            )
        said = whole[len(prompt) :]
        # A template may trim an answer, so its end is looked for behind what is left of it.
        tail = said.find(answer.strip()) + len(answer.strip())
        found = [(at, ender) for ender in enders if (at := said.find(ender, max(tail, 0))) >= 0]
        ended = said[: min(found)[0]] + min(found)[1] if found else said.rstrip() + eos
        parts += [(prompt[len(written) :], False), (ended, True)]
        written = prompt + ended if whole.startswith(prompt + ended) else whole
    return parts


def read_opening(path: Path) -> list[Message]:
    """Messages from a JSON list of {role, content}. Raises DataError."""
    rows = _json_list(path)
    if not rows or not all(isinstance(row, dict) and {"role", "content"} == set(row) for row in rows):
        raise DataError(f"{path}: not a JSON list of objects with 'role' and 'content'")
    return rows


@dataclass(frozen=True)
class ChatFormat:
    """The model's own template, and what stands before every conversation."""

    template: ChatTemplate
    opening: Sequence[Message] = ()


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
    chat: ChatFormat | None = None,
    most: int | None = None,
) -> InstructionData:
    """Read an Alpaca or ShareGPT file and tokenize it; what is longer than ``max_length`` tokens is cut there.

    "alpaca" wants an Alpaca file, "vicuna" a ShareGPT one, "chat" takes either and needs ``chat``. An example
    whose cut leaves nothing to ask for is dropped. ``most`` limits the side to train on, in the file's order; 0 leaves
    it empty, for a measurement that should not wait for it.
    """
    if prompt_format == "chat" and chat is None:
        raise ValueError("the chat format needs the model's template")
    if prompt_format == "vicuna" or (prompt_format == "chat" and is_sharegpt(path)):
        train_turns, kept_turns = read_sharegpt(path, held_out)
    else:
        split = read_alpaca(path, held_out)
        if prompt_format == "alpaca":
            train = alpaca_examples(split.train[:most], tokenizer, special)
            kept = alpaca_examples(split.held_out, tokenizer, special)
            return InstructionData(_cut(train, max_length), _cut(kept, max_length), prompt_format)
        train_turns, kept_turns = ([as_dialogue(entry) for entry in side] for side in (split.train, split.held_out))

    def examples(dialogues: list[list[Turn]]) -> list[Example]:
        if chat is not None and prompt_format == "chat":
            return chat_examples(dialogues, tokenizer, chat.template, special, chat.opening)
        return vicuna_examples(dialogues, tokenizer, special)

    train = examples(train_turns[:most])
    return InstructionData(_cut(train, max_length), _cut(examples(kept_turns), max_length), prompt_format)


def reference_examples(
    value: str, tokenizer: Tokenizer, special: SpecialIds, max_length: int, chat: ChatFormat | None = None
) -> list[Example]:
    """``read_references`` in the model's chat format, or Alpaca's without one; cut at ``max_length`` tokens."""
    entries = read_references(value)
    if chat is None:
        return _cut(alpaca_examples(entries, tokenizer, special), max_length)
    dialogues = [as_dialogue(entry) for entry in entries]
    return _cut(chat_examples(dialogues, tokenizer, chat.template, special, chat.opening), max_length)


def _cut(examples: list[Example], max_length: int) -> list[Example]:
    cut = [Example(example.ids[:max_length], example.asked[:max_length]) for example in examples]
    return [example for example in cut if any(example.asked)]
