"""Files that are either wholly there or not there at all, and the error of those that are not what they should be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class BadFolder(ValueError):
    """A model's folder or file that cannot be read. The message is one sentence that names the file or tensor."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then fsync and rename it into place.

    A reader, or a run that was killed at any moment, sees the old content or the new, never a part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(unfinished)
        unfinished.chmod(0o644)  # some writers make files that only their owner may read
        _flush(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    _flush(path.parent)  # the rename itself


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, lambda target: target.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n"))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
