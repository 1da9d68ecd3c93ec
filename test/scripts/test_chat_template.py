"""A model's own chat format: rendered as transformers does, and cut into what is asked and what is given."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from toast.chat_template import ChatTemplate, TemplateError, load_chat_template
from toast.data import DataError
from toast.files import BadFolder
from toast.prompts import ChatFormat, SpecialIds, chat_examples, read_instructions
from toast.tokenizer import load_tokenizer

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TURNS = (
    "{{ bos_token }}{% for message in messages %}\n"
    "[{{ message['role'] }}] {{ message['content'] | trim }}{{ eos_token }}\n"
    "{% endfor %}\n"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
"""Line breaks behind blocks vanish, those behind text stay; as with transformers."""


def conversation(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


def test_a_template_is_rendered_with_the_special_tokens_and_without_the_blocks_line_breaks():
    template = ChatTemplate(TURNS, SPECIAL)
    asked = template.render(conversation("Hi "), add_generation_prompt=True)
    assert asked == "<s>[user] Hi</s>\n[assistant] "
    assert template.render(conversation("Hi", "Yes"), add_generation_prompt=False) == (
        "<s>[user] Hi</s>\n[assistant] Yes</s>\n"
    )


def test_templates_have_the_helpers_that_transformers_gives_them():
    template = ChatTemplate(
        "{% generation %}{{ messages[0] | tojson }}{% endgeneration %}{{ strftime_now('%Y') }}"
        "{% for m in messages %}{% break %}{% endfor %}",
        {},
    )
    rendered = template.render([{"role": "user", "content": "<é>"}], add_generation_prompt=False)
    assert re.fullmatch(r'\{"role": "user", "content": "<é>"\}\d{4}', rendered)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('no system role') }}", "refuses a conversation: no system role"),
        ("{{ messages.__class__.__mro__ }}", "refuses a conversation: access to attribute '__class__'"),
        ("{{ messages.append(1) }}", "refuses a conversation"),
        ("{{ missing.field }}", "refuses a conversation: 'missing' is undefined"),
    ],
)
def test_a_refusal_is_a_sentence_and_nothing_gets_out_of_the_sandbox(source, message):
    with pytest.raises(TemplateError, match=message):
        ChatTemplate(source, {}).render(conversation("Hi"), add_generation_prompt=True)


def test_a_broken_template_names_its_line():
    with pytest.raises(TemplateError, match="cannot be read: line 2"):
        ChatTemplate("text\n{% if %}", {})


def test_the_template_is_found_where_a_folder_keeps_it(tmp_path: Path):
    with pytest.raises(BadFolder, match="no chat template here"):
        load_chat_template(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ eos_token }}"}]
    config.write_text(json.dumps({"chat_template": named, "eos_token": {"content": "</s>"}, "bos_token": None}))
    assert load_chat_template(tmp_path).render([], add_generation_prompt=False) == "</s>"
    (tmp_path / "chat_template.jinja").write_text("own {{ eos_token }}")
    assert load_chat_template(tmp_path).render([], add_generation_prompt=False) == "own </s>"


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path):
    return load_tokenizer(tokenizer_folder)


def asked_text(tokenizer, example) -> str:
    return tokenizer.decode(
        [i for i, asked in zip(example.ids, example.asked, strict=True) if asked], skip_special_tokens=False
    )


def test_answers_and_the_tokens_that_end_their_turns_are_asked(tokenizer):
    template, special = ChatTemplate(TURNS, SPECIAL), SpecialIds(1, 2)
    example = chat_examples(
        [[("The river", "rises"), ("and the town", "tells stories")]], tokenizer, template, special
    )[0]
    ended = tokenizer.token_to_id("</s>")
    answers = [i for i, asked in zip(example.ids, example.asked, strict=True) if asked]
    assert answers.count(ended) == 2
    assert answers[-1] == ended == example.ids[-1]
    assert asked_text(tokenizer, example).replace(" ", "") == "rises</s>tellsstories</s>"
    # What leads to the first answer is, to the token, what a server's prompt would be.
    prompt = template.render(conversation("The river"), add_generation_prompt=True)
    given = example.asked.index(True)
    assert example.ids[:given] == tokenizer.encode(prompt, add_special_tokens=False).ids
    assert not any(example.asked[:given])


def test_what_opens_every_conversation_is_not_asked(tokenizer):
    template, special = ChatTemplate(TURNS, SPECIAL), SpecialIds(1, 2)
    opening = [{"role": "system", "content": "old stone"}, *conversation("light", "water")]
    example = chat_examples([[("The river", "rises")]], tokenizer, template, special, opening)[0]
    assert asked_text(tokenizer, example).replace(" ", "") == "rises</s>"
    prompt = template.render([*opening, *conversation("The river")], add_generation_prompt=True)
    assert example.ids[: example.asked.index(True)] == tokenizer.encode(prompt, add_special_tokens=False).ids


def test_a_template_that_ends_no_turn_gets_eos(tokenizer):
    template = ChatTemplate(
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
        {},
    )
    example = chat_examples([[("old", "stone")]], tokenizer, template, SpecialIds(1, 2))[0]
    assert example.ids[-1] == 2
    assert example.asked[-1]
    assert "\n" not in asked_text(tokenizer, example)


def test_a_template_that_drops_earlier_turns_is_refused(tokenizer):
    template = ChatTemplate("{{ messages[-1]['content'] }}", {})
    with pytest.raises(DataError, match="writes a conversation anew"):
        chat_examples([[("a", "b")]], tokenizer, template, SpecialIds(1, 2))


def test_either_kind_of_file_can_be_read_in_the_chat_format(tmp_path: Path, alpaca_file: Path, tokenizer):
    template, special = ChatTemplate(TURNS, SPECIAL), SpecialIds(1, 2)
    talks = [
        {"conversations": [{"from": "human", "value": f"old town {n}"}, {"from": "gpt", "value": "water"}]}
        for n in range(5)
    ]
    sharegpt = tmp_path / "talks.json"
    sharegpt.write_text(json.dumps(talks))
    for path, count in ((alpaca_file, 110), (sharegpt, 0)):
        held_out = 10 if count else 2
        data = read_instructions(path, "chat", tokenizer, special, held_out, 256, chat=ChatFormat(template))
        assert len(data.held_out) == held_out
        assert len(data.train) == (count or 3)
        few = read_instructions(path, "chat", tokenizer, special, held_out, 256, chat=ChatFormat(template), most=2)
        assert [example.ids for example in few.train] == [example.ids for example in data.train[:2]]
    # An instruction's input follows it after an empty line.
    assert "\n\n" in tokenizer.decode(data_with_input(alpaca_file, tokenizer, template).ids, skip_special_tokens=False)


def data_with_input(path: Path, tokenizer, template: ChatTemplate):
    rows = [row for row in json.loads(path.read_text()) if row["input"]]
    return chat_examples(
        [[(f"{rows[0]['instruction']}\n\n{rows[0]['input']}", rows[0]["output"])]],
        tokenizer,
        template,
        SpecialIds(1, 2),
    )[0]
