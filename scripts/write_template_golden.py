"""Write what transformers makes of chat templates: what src/text/jinja is held against."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

DESCRIPTION = """\
Renders every template of --out, and every short one of its parts.json, and writes golden.json there.
Needs requirements-templates.txt.

example:
  python write_template_golden.py --out ../test/text/templates
"""

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


def main() -> None:
    parser = argparse.ArgumentParser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the templates")
    folder: Path = parser.parse_args().out
    import transformers  # behind --help, which needs none of it

    conversations = [{**DEFAULTS, **conversation} for conversation in CONVERSATIONS]
    parts = json.loads((folder / "parts.json").read_text("utf-8"))
    golden = {
        "by": f"transformers {transformers.__version__}",
        "conversations": conversations,
        "templates": {
            file.stem: [rendered(file.read_text("utf-8"), conversation) for conversation in conversations]
            for file in sorted(folder.glob("*.jinja"))
        },
        "variables": VARIABLES,
        "parts": [[source, rendered(source, VARIABLES)] for source in parts],
    }
    (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
