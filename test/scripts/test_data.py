"""Documents, splits, packing, prompts and masks."""

from __future__ import annotations

import gzip
import json
import lzma
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from conftest import run_command, sentences, write_alpaca, write_lines
from toast.data import (
    IGNORED,
    DataError,
    Example,
    PackedBlocks,
    Responses,
    TextSource,
    TokenFile,
    pad,
    read_documents,
    split_of,
    tokenize,
)
from toast.prompts import (
    Instruction,
    SpecialIds,
    alpaca_examples,
    format_alpaca,
    format_vicuna,
    read_alpaca,
    read_instructions,
    read_sharegpt,
    vicuna_examples,
)
from toast.tokenizer import load_tokenizer

SPECIAL = SpecialIds(bos=1, eos=2)


def test_every_kind_of_text_file_is_read(tmp_path: Path):
    texts = ["first ä", "second\nline"]
    lines = "".join(json.dumps({"text": text, "other": 1}) + "\n" for text in texts)
    (tmp_path / "a.jsonl").write_text(lines)
    with lzma.open(tmp_path / "b.jsonl.xz", "wt") as file:
        file.write(lines)
    with gzip.open(tmp_path / "c.jsonl.gz", "wt") as file:
        file.write(lines)
    (tmp_path / "d.json").write_text(json.dumps([{"text": text} for text in texts]))
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "id": [1, 2]}), tmp_path / "e.parquet")
    (tmp_path / "f.txt").write_text(texts[0])
    for name in ("a.jsonl", "b.jsonl.xz", "c.jsonl.gz", "d.json", "e.parquet"):
        assert list(TextSource.parse(str(tmp_path / name)).documents()) == texts
    assert list(TextSource.parse(str(tmp_path / "f.txt")).documents()) == texts[:1]
    assert len(list(TextSource.parse(str(tmp_path)).documents())) == 11
    assert len(list(TextSource.parse(str(tmp_path / "*.jsonl*")).documents())) == 6


def test_a_source_is_path_limit_and_repeat():
    assert TextSource.parse("a/b.jsonl") == TextSource("a/b.jsonl")
    assert TextSource.parse("a/b.jsonl:2.5") == TextSource("a/b.jsonl", 2.5)
    assert TextSource.parse("a/b.jsonl:10:3") == TextSource("a/b.jsonl", 10.0, 3)
    assert TextSource.parse("a/b.jsonl::2") == TextSource("a/b.jsonl", None, 2)


def test_a_bad_line_is_named(tmp_path: Path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "fine"}\n{"words": "none"}\n')
    with pytest.raises(DataError, match=r"bad.jsonl:2: not a JSON object with a field 'text'"):
        list(TextSource(str(path)).documents())


def test_a_missing_file_and_a_hub_name_without_the_extra_are_told_apart(monkeypatch):
    with pytest.raises(DataError, match="no such file, folder or pattern"):
        list(TextSource("nowhere/text.jsonl").documents())
    monkeypatch.setitem(sys.modules, "datasets", None)  # importing it fails, installed or not
    with pytest.raises(DataError, match=r"pip install -r scripts/requirements-hub\.txt"):
        list(TextSource("someone/openwebtext").documents())


def test_a_hub_dataset_is_streamed_when_the_extra_is_there(monkeypatch):
    class Hub:
        @staticmethod
        def load_dataset(name, split, streaming):
            assert (name, split, streaming) == ("someone/openwebtext", "train", True)
            return iter([{"text": "one"}, {"text": ""}, {"text": "two"}])

    monkeypatch.setitem(sys.modules, "datasets", Hub)
    assert list(TextSource("someone/openwebtext").documents()) == ["one", "two"]


def test_the_split_depends_on_the_text_alone(tmp_path: Path):
    texts = sentences(2000)
    forwards = [TextSource(str(write_lines(tmp_path / "a.jsonl", texts)))]
    backwards = [TextSource(str(write_lines(tmp_path / "b.jsonl", texts[::-1])))]
    train = set(read_documents(forwards, "train", 5.0))
    held_out = set(read_documents(forwards, "held_out", 5.0))
    assert train | held_out == set(texts)
    assert not train & held_out
    assert 0.03 < len(held_out) / len(texts) < 0.07
    assert held_out == set(read_documents(backwards, "held_out", 5.0))
    assert all(split_of(text, 5.0) == "held_out" for text in held_out)


def test_a_limit_takes_a_fixed_sample_and_a_repeat_shows_it_again(tmp_path: Path):
    texts = sentences(1000)
    path = str(write_lines(tmp_path / "a.jsonl", texts))
    size = sum(len(text) for text in texts) / 1e6
    sample = list(read_documents([TextSource(path, size / 4)], "train", 2.0))
    assert sum(len(text) for text in sample) / 1e6 == pytest.approx(size / 4, rel=0.02)
    assert sample != texts[: len(sample)]
    shuffled = str(write_lines(tmp_path / "b.jsonl", texts[::-1]))
    assert set(read_documents([TextSource(shuffled, size / 4)], "train", 2.0)) == set(sample)
    assert list(read_documents([TextSource(path, size / 4, 2)], "train", 2.0)) == sample * 2


def test_documents_are_packed_between_bos_and_eos_once(tmp_path: Path, tokenizer_folder: Path):
    tokenizer = load_tokenizer(tokenizer_folder)
    texts = sentences(50)
    source = [TextSource(str(write_lines(tmp_path / "a.jsonl", texts)))]
    tokens = tokenize(source, "train", 2.0, tokenizer, 1, 2, tmp_path / "cache")
    kept = [text for text in texts if split_of(text, 2.0) == "train"]
    expected = [i for t in kept for i in (1, *tokenizer.encode(t, add_special_tokens=False).ids, 2)]
    assert tokens.ids.tolist() == expected
    assert tokens.ids.dtype == np.uint16
    assert tokens.byte_count == sum(len(text) for text in kept)
    written = tokens.path.stat().st_mtime_ns
    again = tokenize(source, "train", 2.0, tokenizer, 1, 2, tmp_path / "cache")
    assert (again.path, again.path.stat().st_mtime_ns) == (tokens.path, written)
    assert tokenize(source, "train", 3.0, tokenizer, 1, 2, tmp_path / "cache").path != tokens.path
    assert isinstance(again, TokenFile)


def test_an_epoch_of_blocks_visits_each_once_in_any_order_of_asking():
    blocks = PackedBlocks(np.arange(101, dtype=np.uint16), block=10, seed=3)
    assert len(blocks) == 10
    asked = [blocks.batch(step, 2) for step in (4, 0, 2, 1, 3)]
    assert sorted(batch.ids[row, 0].item() for batch in asked for row in range(2)) == list(range(0, 100, 10))
    assert all(torch.equal(batch.labels, batch.ids + 1) for batch in asked)
    again = PackedBlocks(np.arange(101, dtype=np.uint16), block=10, seed=3)
    assert torch.equal(again.batch(2, 2).ids, asked[2].ids)
    first, second = [[int(blocks.batch(s, 1).ids[0, 0]) for s in range(e * 10, e * 10 + 10)] for e in (0, 1)]
    assert sorted(first) == sorted(second)
    assert first != second


def test_alpaca_prompts_are_exactly_the_published_ones():
    assert format_alpaca("Name a fruit.") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nName a fruit.\n\n### Response:\n"
    )
    assert format_alpaca("Sort.", "2 1") == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request."
        "\n\n### Instruction:\nSort.\n\n### Input:\n2 1\n\n### Response:\n"
    )


def test_vicuna_prompts_are_exactly_the_published_ones():
    assert format_vicuna([("Hi", "Hello!")], "Who?") == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. "
        "USER: Hi ASSISTANT: Hello!</s>USER: Who? ASSISTANT:"
    )


def asked_text(example: Example, tokenizer) -> str:
    ids = [i for i, asked in zip(example.ids, example.asked, strict=True) if asked]
    return tokenizer.decode(ids, skip_special_tokens=False)


def test_only_the_response_and_its_eos_are_asked(tokenizer_folder: Path):
    tokenizer = load_tokenizer(tokenizer_folder)
    [example] = alpaca_examples([Instruction("Name a fruit.", "", "An apple.")], tokenizer, SPECIAL)
    assert asked_text(example, tokenizer) == "An apple.</s>"
    prompt = [1, *tokenizer.encode(format_alpaca("Name a fruit."), add_special_tokens=False).ids]
    assert example.ids[: len(prompt)] == prompt
    batch = pad([example, Example([1, 5, 6], [False, False, True])], pad_id=2)
    targets = batch.labels[0][batch.labels[0] != IGNORED]
    assert targets.tolist() == example.ids[len(prompt) :]
    first = len(prompt) - 1  # the prompt's last position predicts the first response token
    assert (batch.labels[0, :first] == IGNORED).all()
    assert batch.labels[0, first] == example.ids[len(prompt)]
    assert batch.labels[1].tolist() == [IGNORED, 6, *[IGNORED] * (batch.labels.shape[1] - 2)]
    assert batch.target_count == len(targets) + 1


def test_every_answer_of_a_conversation_is_asked(tokenizer_folder: Path):
    tokenizer = load_tokenizer(tokenizer_folder)
    [example] = vicuna_examples([[("Hi", "Hello!"), ("Who?", "Me.")]], tokenizer, SPECIAL)
    assert asked_text(example, tokenizer) == "Hello!</s> Me.</s>"
    # Tokenizing the whole conversation as one string, as a server does, gives the same ids.
    whole = tokenizer.encode(format_vicuna([("Hi", "Hello!")], "Who?"), add_special_tokens=False).ids
    assert example.ids[1 : 1 + len(whole)] == whole


def test_alpaca_entries_are_held_out_by_their_content(tmp_path: Path):
    path = write_alpaca(tmp_path / "a.json", 200)
    rows = json.loads(path.read_text())
    rows += [rows[0], {"instruction": "Say nothing", "input": "", "output": " "}]
    path.write_text(json.dumps(rows))
    split = read_alpaca(path, held_out=30)
    assert (len(split.train), len(split.held_out)) == (170, 30)
    assert not set(split.train) & set(split.held_out)
    other = tmp_path / "b.json"
    other.write_text(json.dumps(rows[::-1]))
    assert set(read_alpaca(other, held_out=30).held_out) == set(split.held_out)


def test_what_is_too_long_is_cut_and_dropped_when_nothing_is_left_to_ask(tmp_path: Path, tokenizer_folder: Path):
    path = write_alpaca(tmp_path / "a.json", 20)
    tokenizer = load_tokenizer(tokenizer_folder)
    whole = read_instructions(path, "alpaca", tokenizer, SPECIAL, 5, 1000)
    longest_prompt = max(example.asked.index(True) for example in whole.train)
    cut = read_instructions(path, "alpaca", tokenizer, SPECIAL, 5, longest_prompt + 1)
    assert all(len(example.ids) <= longest_prompt + 1 and any(example.asked) for example in cut.train)
    assert not read_instructions(path, "alpaca", tokenizer, SPECIAL, 5, 10).train
    measured = read_instructions(path, "alpaca", tokenizer, SPECIAL, 5, 1000, most=0)
    assert measured.held_out == whole.held_out
    assert not measured.train


def test_sharegpt_conversations_become_turns(tmp_path: Path):
    path = tmp_path / "s.json"
    conversation = [
        {"from": "system", "value": "Be nice."},
        {"from": "gpt", "value": "I speak first"},
        {"from": "human", "value": "Hi"},
        {"from": "human", "value": "there"},
        {"from": "gpt", "value": "Hello!"},
        {"from": "human", "value": "Unanswered"},
    ]
    path.write_text(json.dumps([{"conversations": conversation}, {"conversations": []}]))
    assert read_sharegpt(path)[0] == [[("Hi\nthere", "Hello!")]]


def test_batches_hold_examples_of_like_length_and_each_example_once():
    examples = [Example([1, *[9] * n, n % 500 + 3], [False] * (n + 1) + [True]) for n in range(1, 65)]
    data = Responses(examples, pad_id=2, seed=1)
    batches = [data.batch(step, 4) for step in range(16)]
    seen = sorted(int(batch.labels[row].max()) for batch in batches for row in range(4))
    assert seen == sorted(example.ids[-1] for example in examples)
    assert all(int((batch.ids == 2).sum()) <= 6 for batch in batches)  # lengths of a batch are neighbours
    widths = [batch.ids.shape[1] for batch in batches]
    assert widths != sorted(widths)
    assert torch.equal(Responses(examples, 2, 1).batch(5, 4).ids, batches[5].ids)


def test_stories_become_requests_that_name_their_words(tmp_path: Path):
    stories = [
        f"Once there was a {name}. The {name} was small. It sat in a tree. A bird came. They talked. The end came."
        for name in ("frog", "owl", "snail", "goat")
    ]
    write_lines(tmp_path / "stories.jsonl", stories)
    out = tmp_path / "tasks.json"
    words = ("--text", tmp_path / "stories.jsonl", "--held-out-percent", 0, "--out", out)
    run_command("make_story_tasks.py", *words)
    tasks = json.loads(out.read_text())
    asked = [task for task in tasks if not task["input"]]
    assert [task["output"] for task in asked] == stories
    assert re.search(r"\ba frog\b", asked[0]["instruction"])
    assert re.search(r"\ban owl\b", asked[1]["instruction"])
    continued = [task for task in tasks if task["input"]]
    assert [f"{task['input']} {task['output']}" for task in continued] == stories
    run_command("make_story_tasks.py", *words)
    assert json.loads(out.read_text()) == tasks


def test_passages_become_requests_for_what_they_speak_of(tmp_path: Path):
    def book(author: str, place: str) -> str:
        told = f'"We are late," she said. The lantern was lit above the {place} all night. Nobody came to the harbour.'
        paragraphs = [f"{told} It was the {number}th hour of waiting there." for number in range(60)]
        return "\n\n".join([f"# {author}", "Contents, and " * 60, "CHAPTER I", *paragraphs])

    books = [book("Ada Quill", "bridge"), book("Ben Other", "garden")]
    write_lines(tmp_path / "books.jsonl", books)
    out = tmp_path / "tasks.json"
    words = ("--text", tmp_path / "books.jsonl", "--held-out-percent", 0, "--words", 20, "--out", out)
    run_command("make_passage_tasks.py", *words, "--author", "Ada", "--tasks", 10)
    tasks = json.loads(out.read_text())
    assert len(tasks) == 10
    whole = " ".join(books[0].split())
    assert all(task["output"] in whole for task in tasks)
    assert not any("garden" in task["output"] or "CHAPTER" in task["output"] for task in tasks)
    named = re.compile("bridge|lantern|harbour|We are late")
    assert all(named.search(task["instruction"]) or task["instruction"] in whole for task in tasks)
    run_command("make_passage_tasks.py", *words, "--author", "Ada", "--tasks", 10)
    assert json.loads(out.read_text()) == tasks
    refused = run_command("make_passage_tasks.py", *words, "--author", "Nobody", check=False)
    assert refused.status == 2
    assert "no book to make a task of" in refused.stderr


def test_tasks_are_selected_by_the_length_of_their_answers(tmp_path: Path, alpaca_file: Path):
    rows = json.loads(alpaca_file.read_text())
    for row in rows[::2]:
        row["output"] = "stone water"
    data = tmp_path / "data.json"
    data.write_text(json.dumps(rows))
    out = tmp_path / "short.json"
    run_command("select_tasks.py", "--data", data, "--held-out", 20, "--most-words", 3, "--out", out)
    held_out = {(e.instruction, e.output) for e in read_alpaca(data, 20).held_out}
    kept = {(task["instruction"], task["output"]) for task in json.loads(out.read_text())}
    assert kept == {(row["instruction"], row["output"]) for row in rows[::2]} - held_out
    refused = run_command(
        "select_tasks.py", "--data", data, "--held-out", 20, "--most-words", 1, "--out", out, check=False
    )
    assert "no answer has at most 1 words" in refused.stderr
