"""A model's own chat format: its Jinja template, rendered as ``transformers`` renders it.

Templates come with models from anywhere, so they run in Jinja's sandbox, without access to anything but what they are
given.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from toast.files import BadFolder
from toast.gguf_file import open_gguf

Message = dict[str, str]
"""{"role": "system" | "user" | "assistant", "content": text}"""


class TemplateError(ValueError):
    """A template that cannot be compiled, or that refuses a conversation. The message is one sentence."""


class _Generation(Extension):
    """``{% generation %} … {% endgeneration %}``: some templates mark the assistant's part so; here it is just text."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own interface)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """A compiled template and the special tokens that it may write."""

    def __init__(self, source: str, special_tokens: dict[str, str]) -> None:
        """``special_tokens``: bos_token, eos_token … as tokenizer_config.json names them. Raises TemplateError."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        self.source, self.special_tokens = source, special_tokens
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"the chat template cannot be read: line {error.lineno}: {error.message}") from error

    def render(self, messages: list[Message], *, add_generation_prompt: bool) -> str:
        """The conversation as text, special tokens written out. Raises TemplateError."""
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=add_generation_prompt, **self.special_tokens
            )
        except jinja2.TemplateError as error:
            raise TemplateError(f"the chat template refuses a conversation: {error.message}") from error


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Without the escapes for HTML that Jinja's own filter makes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def load_chat_template(model: Path) -> ChatTemplate:
    """The template of a Hugging Face folder: chat_template.jinja's, else tokenizer_config.json's (its default one).

    Of a .gguf file, or of a folder that holds one and no template beside it, the file's own. Raises BadFolder where
    there is none.
    """
    folder = model.parent if model.suffix == ".gguf" else model
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    apart = folder / "chat_template.jinja"
    source = apart.read_text() if apart.is_file() else config.get("chat_template")
    if isinstance(source, list):
        source = next((entry["template"] for entry in source if entry.get("name") == "default"), None)
    if source:
        special = {name: _content(value) for name, value in config.items() if name.endswith("_token") and value}
        return ChatTemplate(source, {name: text for name, text in special.items() if text is not None})
    gguf = open_gguf(model)
    brought = None if gguf is None else gguf.chat_template()
    if brought is None:
        raise BadFolder(f"{model}: no chat template here (chat_template.jinja, or one in tokenizer_config.json)")
    return ChatTemplate(*brought)


def _content(token: Any) -> str | None:
    """A special token is written as text, or as an object that holds it."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None
