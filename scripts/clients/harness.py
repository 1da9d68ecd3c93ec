"""What every suite of client checks needs. Only the standard library: each suite runs in an environment of its own."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
"""Of the server, with /v1."""
MODEL = sys.argv[2] if len(sys.argv) > 2 else "SmolLM2-135M-Instruct"
KEY = "unused-by-a-server-without-keys"

QUESTION = "Name three colours."
LONGEST = 48
"""Tokens of an answer: what matters here is its shape."""

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 30}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}


class Refused(Exception):
    """A check that does not hold, in words."""


@dataclass(frozen=True)
class Check:
    name: str
    run: Callable[[], Any]
    why: str | None


_checks: list[Check] = []


def check(name: str, why: str | None = None) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """A function, async or not, that raises when what its name says does not hold; ``why``, where it is known why."""

    def added(function: Callable[[], Any]) -> Callable[[], Any]:
        _checks.append(Check(name, function, why))
        return function

    return added


def hold(condition: object, words: str) -> None:
    if not condition:
        raise Refused(words)


def report() -> None:
    """Run all checks and print a JSON line of each: name, passed, reason."""
    for one in _checks:
        reason = None
        try:
            result = one.run()
            if inspect.isawaitable(result):
                asyncio.run(_finished(result))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            reason = f"{type(error).__name__}: {error}"[:300] + (f" ({one.why})" if one.why else "")
        print(json.dumps({"name": one.name, "passed": reason is None, "reason": reason}), flush=True)


async def _finished(awaitable: Any) -> Any:
    return await awaitable
