"""The running server, for commands that ask it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from toast.data import DataError


def post(server: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a JSON body. Raises DataError with what the server said."""
    request = urllib.request.Request(
        f"{server.rstrip('/')}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    return _answer_to(server, path, request)


def get(server: str, path: str) -> dict[str, Any]:
    """What the server lists. Raises DataError with what the server said."""
    return _answer_to(server, path, urllib.request.Request(f"{server.rstrip('/')}{path}"))


def _answer_to(server: str, path: str, request: urllib.request.Request) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(request, timeout=600) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise DataError(f"{server} refused {path}: {error.read().decode(errors='replace')[:400]}") from error
    except urllib.error.URLError as error:
        raise DataError(f"{server} does not answer ({error.reason}): is the server running?") from error
